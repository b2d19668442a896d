//! Tests of the whole: bad files against the exact text of their errors, good files against the model,
//! and random ones against panics.

mod bad;
mod files;
mod good;
mod random;

/// Five lines that make any fragment after them a whole configuration without a dataplane.
const BASE: &str = r#"[router]
id = "192.0.2.1"
as = 65001
[dataplane]
mode = "off"
"#;

fn parse(text: &str) -> Result<super::Config, super::Errors> {
    super::parse(text, std::path::Path::new("vc5.toml"))
}

fn with_base(fragment: &str) -> Result<super::Config, super::Errors> {
    parse(&format!("{BASE}{fragment}"))
}
