//! Sampled new flows, from the program to whoever listens.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use vc5_ebpf_abi::{RealState, Reason, Sample};

use crate::forwarding::address_of;
use crate::maps::KernelTables;
use crate::{L4, NewFlow, Tuple};

/// The program's end and the listeners' end.
pub(super) struct Samples {
    ring: AsyncFd<RingBuf<MapData>>,
    listeners: broadcast::Sender<NewFlow>,
}

impl Samples {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        listeners: broadcast::Sender<NewFlow>,
    ) -> io::Result<Self> {
        // SAFETY: the ring owns its descriptor, and neither closes nor exchanges it before it is
        // dropped, with the registration.
        let ring = unsafe { AsyncFd::register(ring) }?;
        Ok(Self { ring, listeners })
    }

    /// Waits until there are some.
    pub(super) async fn wait(&self) {
        // An error would be one of the runtime, which is gone then.
        if let Ok(mut ready) = self.ring.readable().await {
            ready.clear_ready();
        }
    }

    /// Takes those that there are and tells the listeners.
    pub(super) fn forward(&mut self, tables: &KernelTables) {
        while let Some(item) = self.ring.get_mut().next() {
            if let Some(flow) = sample(&item).and_then(|sample| new_flow(&sample, tables)) {
                // That nobody listens is no error.
                let _nobody = self.listeners.send(flow);
            }
        }
    }
}

fn sample(bytes: &[u8]) -> Option<Sample> {
    if bytes.len() < size_of::<Sample>() {
        return None;
    }
    // SAFETY: the slice has at least as many bytes as a sample, and any bits are one.
    Some(unsafe { bytes.as_ptr().cast::<Sample>().read_unaligned() })
}

fn new_flow(sample: &Sample, tables: &KernelTables) -> Option<NewFlow> {
    let [a, b, c, d] = sample.ports;
    let real = tables.real(sample.real);
    let is_used = |real: &vc5_ebpf_abi::Real| RealState::from_u8(real.state) != RealState::Free;
    Some(NewFlow {
        tuple: Tuple {
            source: address_of(sample.source),
            source_port: u16::from_be_bytes([a, b]),
            destination: address_of(sample.destination),
            port: u16::from_be_bytes([c, d]),
            protocol: L4::from_number(sample.protocol)?,
        },
        backend: real.filter(is_used).map(|real| address_of(real.addr)),
        reason: Reason::ALL.get(sample.reason as usize)?.label(),
    })
}
