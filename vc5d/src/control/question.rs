//! What is asked of the dataplane itself, as no picture has the answer: questions, answers, and who gives them.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Weak;

use tokio::sync::broadcast;
use vc5_xdp::{
    Dataplane, Error, FlowView, FlowsView, L4, MaglevView, NewFlow, Ports, TraceAnswer,
    TraceQuestion, Tuple,
};

/// A service of a VIP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// The VIP address.
    pub vip: IpAddr,
    /// Its ports.
    pub ports: Ports,
    /// Its protocol.
    pub protocol: L4,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What would become of this packet?
    Trace(TraceQuestion),
    /// What do the rings of these services look like?
    Maglev(Vec<ServiceName>),
    /// How is the flow table filled?
    Flows {
        /// Backend by backend.
        all: bool,
    },
    /// What is remembered of this flow?
    Flow(Tuple),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::Trace`].
    Trace(TraceAnswer),
    /// To [`Question::Maglev`].
    Maglev(Vec<(ServiceName, MaglevView)>),
    /// To [`Question::Flows`].
    Flows {
        /// The table.
        view: FlowsView,
        /// What happened to it, and how often.
        events: Vec<(&'static str, u64)>,
        /// Backend by backend.
        all: bool,
    },
    /// To [`Question::Flow`].
    Flow(Tuple, FlowView),
}

/// Whoever answers questions.
pub trait Answers: Debug + Send + Sync {
    /// Answers; blocks for as long as that takes. `None`: there is no dataplane.
    fn answer(&self, question: &Question) -> Option<Result<Answer, Error>>;

    /// New flows from now on, as far as they are sampled. `None`: there is no dataplane.
    fn samples(&self) -> Option<broadcast::Receiver<NewFlow>>;
}

/// A dataplane that may have been stopped, or that never was.
impl Answers for Weak<Dataplane> {
    fn answer(&self, question: &Question) -> Option<Result<Answer, Error>> {
        let dataplane = self.upgrade()?;
        Some(match question {
            Question::Trace(question) => dataplane.trace(question.clone()).map(Answer::Trace),
            Question::Maglev(services) => {
                let view = |name: &ServiceName| {
                    let view = dataplane.maglev(name.vip, name.ports, name.protocol)?;
                    Ok((*name, view))
                };
                services.iter().map(view).collect::<Result<_, _>>().map(Answer::Maglev)
            }
            Question::Flows { all } => dataplane.flows().map(|view| Answer::Flows {
                view,
                events: dataplane.snapshot().events.clone(),
                all: *all,
            }),
            Question::Flow(tuple) => dataplane.flow(*tuple).map(|view| Answer::Flow(*tuple, view)),
        })
    }

    fn samples(&self) -> Option<broadcast::Receiver<NewFlow>> {
        self.upgrade().map(|dataplane| dataplane.samples())
    }
}
