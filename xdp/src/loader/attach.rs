//! Attaching the program to interfaces, and knowing whether it still is.

use std::io;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpError, XdpLink};
use aya::programs::{ProgramError, XdpMode};

use super::{Loaded, Pins, chain};
use crate::topology::{Link, Topology, XdpInfo};
use crate::{AttachMode, Error};

/// What holds the program on an interface.
#[derive(Debug)]
enum Hold {
    /// A link of this run; it ends with the process.
    Owned(#[expect(dead_code, reason = "dropping it detaches")] FdLink),
    /// A link of this run that is pinned.
    Pinned(#[expect(dead_code, reason = "dropping it closes the link's descriptor")] PinnedLink),
    /// A pinned link of an earlier run, which still runs the program of that run.
    Adopted {
        #[expect(dead_code, reason = "it stays open until it is replaced")]
        link: PinnedLink,
        program_id: u32,
    },
}

/// The program on one interface.
#[derive(Debug)]
struct Attachment {
    interface: String,
    index: u32,
    native: bool,
    /// Why it is not native.
    fallback: Option<String>,
    hold: Hold,
}

/// Whether the program runs on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) interface: String,
    pub(crate) index: u32,
    pub(crate) native: bool,
    pub(crate) fallback: Option<String>,
    /// Why it does not; `None` if it does.
    pub(crate) problem: Option<String>,
}

/// The program on all the interfaces.
#[derive(Debug)]
pub(crate) struct Attachments {
    mode: AttachMode,
    attachments: Vec<Attachment>,
}

impl Attachments {
    /// Attaches the program to the interfaces, except where a link of an earlier run holds: that
    /// one goes on until [`Attachments::swap`].
    ///
    /// # Errors
    /// [`Error::UnknownInterface`], [`Error::Attach`] and [`Error::PinPath`]; dropping what was
    /// attached so far detaches it.
    pub(crate) fn attach(
        loaded: &mut Loaded,
        pins: &mut Option<Pins>,
        topology: &Topology,
        mode: AttachMode,
    ) -> Result<Self, Error> {
        let mut attachments = Vec::new();
        for name in topology.names() {
            let link =
                topology.by_name(name).ok_or_else(|| Error::UnknownInterface(name.clone()))?;
            let adopted = pins.as_ref().and_then(|p| adoptable(p, link, mode));
            attachments.push(match adopted {
                Some((pinned, running)) => adopt(pinned, running, link, mode),
                None => attach(loaded, pins, link, mode)?,
            });
        }
        Ok(Self { mode, attachments })
    }

    /// Whether some interface still runs the program of an earlier run.
    pub(crate) fn is_swap_due(&self) -> bool {
        self.attachments.iter().any(|a| matches!(a.hold, Hold::Adopted { .. }))
    }

    /// Puts the program in place of that of an earlier run, at one stroke per interface, and
    /// removes what else that run has left.
    ///
    /// # Errors
    /// [`Error::Attach`]; the interface named runs the earlier program on.
    pub(crate) fn swap(&mut self, loaded: &mut Loaded, pins: &mut Pins) -> Result<(), Error> {
        for attachment in &mut self.attachments {
            let Hold::Adopted { .. } = attachment.hold else { continue };
            let error = |reason: String| Error::Attach {
                interface: attachment.interface.clone(),
                reason: format!("the program could not be replaced: {reason}"),
            };
            let Some(pinned) = pins.link(attachment.index) else {
                return Err(error("its pin is gone".into()));
            };
            let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|e| error(chain(&e)))?;
            let program = loaded.program()?;
            let id = program.attach_to_link(link).map_err(|e| error(chain(&e)))?;
            // Even if another interface fails: this one runs by these maps.
            pins.keep();
            // Ours is the pinned one; the program's own handle on the link is not needed.
            let _link = program.take_link(id).map_err(|e| error(chain(&e)))?;
            let pinned = pins.link(attachment.index);
            let Some(pinned) = pinned else { return Err(error("its pin is gone".into())) };
            attachment.hold = Hold::Pinned(pinned);
            tracing::info!(interface = %attachment.interface, "took over from the earlier program");
        }
        pins.remove_older(&self.indices());
        Ok(())
    }

    /// The interfaces by their indices.
    pub(crate) fn indices(&self) -> Vec<u32> {
        self.attachments.iter().map(|a| a.index).collect()
    }

    /// Attaches again where an interface has gone and come back, or somebody has detached the
    /// program and nothing is in its place. What the topology tells must be new. An interface that
    /// fails does not keep the others from being attached to, and is left as it is; the errors are
    /// those of [`Attachments::attach`].
    pub(crate) fn reattach(
        &mut self,
        loaded: &mut Loaded,
        pins: &mut Option<Pins>,
        topology: &Topology,
    ) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut attached = false;
        for attachment in &mut self.attachments {
            let Some(link) = topology.by_name(&attachment.interface) else { continue };
            let is_another = link.index != attachment.index;
            if !is_another && (!link.up || link.xdp.is_some()) {
                continue;
            }
            if let Some(pins) = pins.as_mut().filter(|_| is_another) {
                pins.unpin_link(attachment.index);
            }
            match attach(loaded, pins, link, self.mode) {
                Ok(again) => {
                    *attachment = again;
                    attached = true;
                }
                Err(error) => errors.push(error),
            }
        }
        if let Some(pins) = pins.as_mut().filter(|_| attached) {
            pins.keep();
            if !self.is_swap_due() {
                pins.remove_older(&self.indices());
            }
        }
        errors
    }

    /// Whether the program runs on each of the interfaces.
    pub(crate) fn status(&self, topology: &Topology, program_id: u32) -> Vec<Status> {
        let problem = |attachment: &Attachment| {
            let Some(link) = topology.by_index(attachment.index) else {
                return Some("the interface is gone".into());
            };
            // A driver may drop the program of an interface that is going away: down comes first.
            if !link.up {
                return Some("the interface is down".into());
            }
            let running = link.xdp.map(|x| x.program_id);
            let expected = match attachment.hold {
                Hold::Adopted { program_id, .. } => program_id,
                Hold::Owned(_) | Hold::Pinned(_) => program_id,
            };
            (running != Some(expected))
                .then(|| "somebody else has detached or replaced the program".into())
        };
        let status = |attachment: &Attachment| Status {
            interface: attachment.interface.clone(),
            index: attachment.index,
            native: attachment.native,
            fallback: attachment.fallback.clone(),
            problem: problem(attachment),
        };
        self.attachments.iter().map(status).collect()
    }
}

/// The pinned link to an interface and what runs by it, if it can be used on: it is the one that is
/// attached there, and in a mode that is still wanted.
fn adoptable(pins: &Pins, link: &Link, mode: AttachMode) -> Option<(PinnedLink, XdpInfo)> {
    let running = link.xdp?;
    let right_mode = match mode {
        AttachMode::Auto => true,
        AttachMode::Native => running.native,
        AttachMode::Generic => !running.native,
    };
    let pinned = pins.link(link.index)?;
    let held = FdLink::from(pinned).info().ok()?;
    let pinned = (right_mode && held.program_id() == running.program_id)
        .then(|| pins.link(link.index))??;
    Some((pinned, running))
}

fn adopt(pinned: PinnedLink, running: XdpInfo, link: &Link, mode: AttachMode) -> Attachment {
    let XdpInfo { program_id, native } = running;
    let fallback = (mode == AttachMode::Auto && !native).then(|| {
        let reason = "the earlier run attached in generic mode, and its link is used on; \
                      `vc5d --detach` before the start tries native mode anew";
        warn_of_generic(&link.name, reason);
        reason.to_owned()
    });
    Attachment {
        interface: link.name.clone(),
        index: link.index,
        native,
        fallback,
        hold: Hold::Adopted { link: pinned, program_id },
    }
}

fn warn_of_generic(interface: &str, reason: &str) {
    tracing::warn!(
        interface,
        reason,
        "native XDP is not used; generic mode costs several times as much"
    );
}

fn attach(
    loaded: &mut Loaded,
    pins: &mut Option<Pins>,
    link: &Link,
    mode: AttachMode,
) -> Result<Attachment, Error> {
    if let Some(pins) = pins {
        // A link of an earlier run that cannot be used on, such as one in another mode.
        drop(pins.link(link.index).inspect(|_| pins.unpin_link(link.index)));
    }
    let (fd, native, fallback) = attach_in_mode(loaded, link, mode)?;
    let hold = match pins {
        Some(pins) => Hold::Pinned(pins.pin_link(link.index, fd)?),
        None => Hold::Owned(fd),
    };
    Ok(Attachment { interface: link.name.clone(), index: link.index, native, fallback, hold })
}

fn attach_in_mode(
    loaded: &mut Loaded,
    link: &Link,
    mode: AttachMode,
) -> Result<(FdLink, bool, Option<String>), Error> {
    let name = &link.name;
    if mode == AttachMode::Generic {
        return Ok((attach_as(loaded, link, XdpMode::Skb)?, false, None));
    }
    let error = match try_attach(loaded, link, XdpMode::Driver)? {
        Ok(fd) => return Ok((fd, true, None)),
        Err(error) => error,
    };
    let reason = explain(&error, name);
    if mode == AttachMode::Native || !is_for_want_of_native(&error) {
        return Err(Error::Attach { interface: name.clone(), reason });
    }
    let fd = attach_as(loaded, link, XdpMode::Skb)?;
    warn_of_generic(name, &reason);
    Ok((fd, false, Some(reason)))
}

fn attach_as(loaded: &mut Loaded, link: &Link, mode: XdpMode) -> Result<FdLink, Error> {
    try_attach(loaded, link, mode)?.map_err(|error| Error::Attach {
        interface: link.name.clone(),
        reason: explain(&error, &link.name),
    })
}

/// Attaches by a link. The outer error is one that no other mode would help with.
fn try_attach(
    loaded: &mut Loaded,
    link: &Link,
    mode: XdpMode,
) -> Result<Result<FdLink, ProgramError>, Error> {
    let program = loaded.program()?;
    let id = match program.attach_to_if_index(link.index, mode) {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    let attached = program.take_link(id).map_err(|e| Error::Load(chain(&e)))?;
    FdLink::try_from(attached).map(Ok).map_err(|e| Error::Attach {
        interface: link.name.clone(),
        reason: format!(
            "the kernel has no XDP links ({}); Linux 5.9 or newer is needed",
            chain(&e)
        ),
    })
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(e)) => e.raw_os_error(),
        _ => None,
    }
}

/// Whether generic mode may work where native mode did not.
fn is_for_want_of_native(error: &ProgramError) -> bool {
    !matches!(
        errno(error),
        Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV)
    )
}

fn explain(error: &ProgramError, interface: &str) -> String {
    let Some(code) = errno(error) else { return chain(error) };
    let said = io::Error::from_raw_os_error(code);
    match code {
        libc::EBUSY | libc::EEXIST => format!(
            "another XDP program is attached ({said}); `bpftool net show dev {interface}` tells \
             which, `ip link set dev {interface} xdp off` or its owner removes it"
        ),
        libc::EOPNOTSUPP => format!("its driver has no native XDP ({said}); use generic mode"),
        libc::ERANGE | libc::EINVAL => format!(
            "its driver refuses native XDP as the interface is set up ({said}); a smaller MTU, \
             fewer queues or LRO off may help, or generic mode"
        ),
        libc::EPERM | libc::EACCES => format!("no permission ({said}); CAP_NET_ADMIN is needed"),
        _ => format!("the program cannot be attached: {said}"),
    }
}
