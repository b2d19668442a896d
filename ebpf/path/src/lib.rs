//! The forwarding path: parse and decide, the same code for the XDP program and for the host.
#![no_std]
