//! An embeddable BGP-4 speaker: codec, sans-IO session machine, RIBs, policy and a thin tokio driver.

pub mod policy;
pub mod rib;
pub mod session;
pub mod speaker;
pub mod wire;
