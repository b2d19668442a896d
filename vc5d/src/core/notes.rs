//! What has changed, and why: the causes that are kept for whoever asks afterwards.

use std::net::IpAddr;
use std::time::Instant;

use crate::snapshot::Subject;

/// What something was that was not there before, and what it is once it is gone.
pub(crate) const ABSENT: &str = "absent";

/// One change with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What kind of thing changed.
    pub subject: Subject,
    /// Name of the VIP.
    pub vip: String,
    /// Its address.
    pub address: IpAddr,
    /// `80/tcp`, for a service and its backends.
    pub service: Option<String>,
    /// The backend.
    pub backend: Option<IpAddr>,
    /// What it was.
    pub from: &'static str,
    /// What it is.
    pub to: &'static str,
    /// Why.
    pub cause: String,
}

/// Collects the changes of one VIP address, until the core takes them.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    vip: String,
    address: IpAddr,
    events: Vec<Event>,
}

impl Notes {
    pub(crate) fn new(vip: &str, address: IpAddr) -> Self {
        Self { vip: vip.to_owned(), address, events: Vec::new() }
    }

    /// The VIP has another name from now on.
    pub(crate) fn rename(&mut self, vip: &str) {
        vip.clone_into(&mut self.vip);
    }

    /// Whether there is nothing to hand over.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Hands over what has been collected.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// The VIP's health or its route changed.
    pub(crate) fn vip(&mut self, subject: Subject, change: Change, cause: String) {
        self.push(subject, None, None, change, cause);
    }

    /// A service changed.
    pub(crate) fn service(&mut self, service: &str, change: Change, cause: String) {
        self.push(Subject::Service, Some(service), None, change, cause);
    }

    /// A backend of a service changed.
    pub(crate) fn backend(
        &mut self,
        service: &str,
        backend: IpAddr,
        change: Change,
        cause: String,
    ) {
        self.push(Subject::Backend, Some(service), Some(backend), change, cause);
    }

    /// Something is said of a backend of a service that leaves its state as it is.
    pub(crate) fn about(
        &mut self,
        subject: Subject,
        service: &str,
        backend: IpAddr,
        change: Change,
        cause: String,
    ) {
        self.push(subject, Some(service), Some(backend), change, cause);
    }

    fn push(
        &mut self,
        subject: Subject,
        service: Option<&str>,
        backend: Option<IpAddr>,
        change: Change,
        cause: String,
    ) {
        let Change { at, from, to } = change;
        if from == to {
            return;
        }
        let (vip, address) = (self.vip.clone(), self.address);
        let service = service.map(str::to_owned);
        self.events.push(Event { at, subject, vip, address, service, backend, from, to, cause });
    }
}

/// From what to what, and when. A change to the same is none and is not noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}
