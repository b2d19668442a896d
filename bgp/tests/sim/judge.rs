//! Whether a peer answers what it receives as it has to.

use vc5_bgp::session::{Event, Role};
use vc5_bgp::wire::Family;

use super::network::{role, side};
use super::tap::{Heard, Outcome, Phase};
use super::world::{Deadline, World};

impl World {
    /// Hands a piece of stream to a peer and judges what comes of it.
    pub(crate) fn deliver(
        &mut self,
        id: usize,
        reader: usize,
        end: usize,
        role: Role,
        piece: &[u8],
    ) {
        let now = self.now;
        let conn = &mut self.conns[id];
        let (opened, tainted) = (conn.sent[reader].open, conn.tainted);
        let heard = conn.taps[reader].feed(now, piece, opened, tainted);
        self.drive(end, Event::Received { role, bytes: piece });
        self.judge(id, reader, &heard);
    }

    fn judge(&mut self, id: usize, reader: usize, heard: &Heard) {
        let conn = &self.conns[id];
        let (up, said) = (conn.up[reader], conn.sent[reader].notification);
        let excused = said.is_some_and(|(code, subcode)| {
            heard.open && (code, subcode) == (6, 7) || heard.perhaps.contains(&code)
        });
        let who = || format!("{}, {said:?} sent", self.side_name(id, reader));
        match &heard.outcome {
            Outcome::Fatal(allowed) => {
                assert!(!up, "{}: still open after what asks for {allowed:?}", who());
                let right = said.is_some_and(|said| allowed.contains(&said));
                assert!(right || excused, "{}: {allowed:?} was due", who());
                self.stats.errors_judged += 1;
            }
            Outcome::Told => {
                assert!(!up, "{}: still open after a NOTIFICATION", who());
                assert!(said.is_none() || excused, "{}: a NOTIFICATION was answered", who());
                self.stats.errors_judged += 1;
            }
            Outcome::Fine | Outcome::Perhaps(_) | Outcome::Learned(_) | Outcome::Withdrawn(_) => {
                assert!(up || excused, "{}: closed for no reason", who());
                if up {
                    self.judge_session(id, reader, &heard.outcome);
                }
            }
        }
    }

    /// The connection stands: so must the session, if it got that far, and with it the route that
    /// was asked about.
    fn judge_session(&mut self, id: usize, reader: usize, outcome: &Outcome) {
        let conn = &self.conns[id];
        let end = &self.ends[conn.ends[reader]];
        if conn.taps[reader].phase < Phase::Established {
            return;
        }
        let who = self.side_name(id, reader);
        assert_eq!(end.peer.session_role(), Some(role(reader)), "{who}: a session is due");
        let channel = end.peer.session().and_then(|s| s.channels.get(&Family::IPV4_UNICAST));
        let Some(channel) = channel.filter(|_| !conn.taps[reader].is_bare()) else { return };
        match outcome {
            Outcome::Learned(prefix) => {
                assert!(
                    channel.adj_in.get(&(*prefix, 0)).is_some(),
                    "{who}: {prefix} was not learned"
                );
            }
            Outcome::Withdrawn(prefix) => {
                assert!(
                    channel.adj_in.get(&(*prefix, 0)).is_none(),
                    "{who}: {prefix} was not withdrawn"
                );
                self.stats.errors_judged += 1;
            }
            _ => {}
        }
    }

    /// A connection is given up for another one, which is Established, or was dialled by the speaker
    /// with the greater identifier, or, if those are equal, with the greater AS (RFC 4271 section 6.8,
    /// RFC 6286 section 2.3).
    pub(crate) fn right_one_gives_way(&self, id: usize, at: usize) {
        let end = self.conns[id].ends[at];
        let who = self.side_name(id, at);
        let Some(rival) = self.ends[end].links[1 - at] else {
            panic!("{who}: collides with nothing");
        };
        let known = &self.conns[rival];
        if known.tainted || self.conns[id].tainted || known.taps[1 - at].phase == Phase::Established
        {
            return;
        }
        let [dialler, other] = known.ends.map(|end| {
            let local = self.nodes[self.ends[end].node].local;
            (local.router_id, local.local_as)
        });
        assert!(dialler > other, "{who}: gives way to #{rival}, which has to");
    }

    /// The time that a network needs has passed: a withdrawal must have arrived, whatever the other
    /// neighbours of the one that withdrew do.
    pub(crate) fn deadline(&mut self, deadline: &Deadline) {
        let Deadline { end, conn, disturbed, prefix, version } = *deadline;
        let known = &self.conns[conn];
        let from = &self.nodes[self.ends[end ^ 1].node];
        let moot = known.disturbed != disturbed
            || !known.whole()
            || self.ends[end].up.is_none()
            || from.versions.get(&prefix) != Some(&version);
        if moot {
            return;
        }
        self.stats.withdrawals_timed += 1;
        let session = self.ends[end].peer.session();
        let channel = session.and_then(|s| s.channels.get(&Family::of(&prefix)));
        assert!(
            channel.is_none_or(|channel| channel.adj_in.get(&(prefix, 0)).is_none()),
            "{}: the withdrawal of {prefix} is late",
            self.name(end)
        );
    }

    /// Silence and a full window end a session in time.
    pub(crate) fn sweep(&mut self) {
        let slack = std::time::Duration::from_millis(1);
        for end in &self.ends {
            let (Some(up), Some(role)) = (end.up, end.peer.session_role()) else { continue };
            let Some(id) = end.links[side(role)] else { continue };
            let at = side(role);
            let hold = self.conns[id].hold[at];
            if hold.is_zero() || self.hung(end.node) {
                continue;
            }
            let silent = self.now - self.conns[id].taps[at].heard;
            let who = || self.side_name(id, at);
            assert!(silent <= hold + slack, "{}: silent for {silent:?}, hold {hold:?}", who());
            let pipe = &self.conns[id].pipes[at];
            let full = self.now - pipe.taken.max(up);
            assert!(
                pipe.out.is_empty() || full <= 2 * hold + slack,
                "{}: nothing taken for {full:?}, hold {hold:?}",
                who()
            );
        }
    }
}
