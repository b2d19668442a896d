//! Helper of a lab: serves and fetches inside its namespaces.

fn main() -> std::process::ExitCode {
    vc5_conformance::tool::main()
}
