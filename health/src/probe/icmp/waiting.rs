//! Who waits for which echo reply.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::sync::oneshot;

use super::message::{Key, Seen};

/// The probes that wait for a reply. No socket and no clock here.
#[derive(Debug)]
pub(super) struct Waiting {
    next: Key,
    probes: HashMap<Key, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    to: IpAddr,
    payload: Vec<u8>,
    odd: u32,
    tell: oneshot::Sender<Result<(), String>>,
}

impl Waiting {
    /// Nobody waits yet; requests are numbered from `first`.
    pub(super) fn new(first: Key) -> Self {
        Self { next: first, probes: HashMap::new() }
    }

    /// Notes a request to an address and gives its number.
    pub(super) fn add(
        &mut self,
        to: IpAddr,
        payload: Vec<u8>,
        tell: oneshot::Sender<Result<(), String>>,
    ) -> Key {
        while self.probes.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let key = self.next;
        self.next = key.wrapping_add(1);
        self.probes.insert(key, Waiter { to, payload, odd: 0, tell });
        key
    }

    /// Nobody waits for this any more. Gives how many replies with another payload came.
    pub(super) fn remove(&mut self, key: Key) -> u32 {
        self.probes.remove(&key).map_or(0, |waiter| waiter.odd)
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }

    /// Tells the probe that a message is about. The host's other programs have replies and errors
    /// too, which are about none.
    pub(super) fn handle(&mut self, from: IpAddr, key: Key, seen: Seen<'_>) {
        let Some(waiter) = self.probes.get_mut(&key) else { return };
        let result = match seen {
            Seen::Reply(_) if from != waiter.to => return,
            Seen::Reply(payload) if payload != waiter.payload => {
                waiter.odd += 1;
                return;
            }
            Seen::Reply(_) => Ok(()),
            Seen::Error { to, .. } if to != waiter.to => return,
            Seen::Error { words, .. } => Err(format!("{words} (said by {from})")),
        };
        if let Some(waiter) = self.probes.remove(&key) {
            // The probe may have been given up at this moment.
            let _ = waiter.tell.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_needs_address_number_and_payload() {
        let [vip, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let mut waiting = Waiting::new(Key::MAX);
        let (tell, mut told) = oneshot::channel();
        let key = waiting.add(vip, b"token".to_vec(), tell);
        waiting.handle(other, key, Seen::Reply(b"token"));
        waiting.handle(vip, key.wrapping_add(1), Seen::Reply(b"token"));
        waiting.handle(vip, key, Seen::Reply(b"token+"));
        waiting.handle(other, key, Seen::Error { to: other, words: "gone" });
        assert!(told.try_recv().is_err());
        waiting.handle(vip, key, Seen::Reply(b"token"));
        assert_eq!(told.try_recv(), Ok(Ok(())));
        assert!(waiting.is_empty());

        let (tell, mut told) = oneshot::channel();
        let key = waiting.add(vip, Vec::new(), tell);
        waiting.handle(vip, key, Seen::Reply(b"x"));
        waiting.handle(other, key, Seen::Error { to: vip, words: "gone" });
        assert_eq!(told.try_recv(), Ok(Err("gone (said by 192.0.2.2)".into())));

        let (tell, _told) = oneshot::channel();
        let key = waiting.add(vip, Vec::new(), tell);
        waiting.handle(vip, key, Seen::Reply(b"x"));
        assert_eq!((waiting.remove(key), waiting.remove(key)), (1, 0));
    }

    #[test]
    fn numbers_in_use_are_passed_over() {
        let vip = "192.0.2.1".parse().unwrap();
        let mut waiting = Waiting::new(Key::MAX);
        let add = |waiting: &mut Waiting| waiting.add(vip, Vec::new(), oneshot::channel().0);
        assert_eq!((add(&mut waiting), add(&mut waiting)), (Key::MAX, 0));
        waiting.next = Key::MAX;
        assert_eq!(add(&mut waiting), 1);
    }
}
