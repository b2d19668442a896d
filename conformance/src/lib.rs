//! The lab of network namespaces and real peers: scenario tests, benchmarks and the demo.

pub mod bench;
pub mod demo;
pub mod lab;
pub mod tool;
pub mod vm;
