//! A message of any type, and the way from and to octets.

use bytes::Bytes;

use super::error::{EncodeError, WireError};
use super::header::{Frame, MAX_LEN, MessageType};
use super::notification::Notification;
use super::open::Open;
use super::refresh::RouteRefresh;
use super::update::{DecodedUpdate, Update, UpdateView};
use super::{Family, FamilySet, header, notification, open, refresh, update};

/// A BGP message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all messages are UPDATEs; a box would cost each an allocation"
)]
pub enum Message {
    /// OPEN.
    Open(Open),
    /// UPDATE.
    Update(Update),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
}

/// A received message; an UPDATE comes with what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all messages are UPDATEs; a box would cost each an allocation"
)]
pub enum Decoded {
    /// OPEN, valid by itself; whether it suits the neighbour is for the session to say.
    Open(Open),
    /// UPDATE.
    Update(DecodedUpdate),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
}

/// What the session negotiated, as far as it decides how octets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeContext {
    /// AS numbers in AS_PATH and AGGREGATOR have 4 octets (both sides announced it, RFC 6793).
    pub as4: bool,
    /// The peer is external.
    pub ebgp: bool,
    /// AS_SET and AS_CONFED_SET are accepted; otherwise they are treated as withdraw (RFC 9774).
    pub allow_as_sets: bool,
    /// Negotiated families; routes of others are ignored.
    pub families: FamilySet,
    /// Families whose routes come with a path identifier: the neighbour sends several paths and we
    /// receive them (RFC 7911).
    pub add_path: FamilySet,
    /// IPv4 unicast routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
}

impl Default for DecodeContext {
    /// An external neighbour with 4-octet AS numbers and nothing else: IPv4 unicast alone.
    fn default() -> Self {
        Self {
            as4: true,
            ebgp: true,
            allow_as_sets: false,
            families: FamilySet::from(Family::IPV4_UNICAST),
            add_path: FamilySet::NONE,
            extended_next_hop: false,
        }
    }
}

/// What the session negotiated, as far as it decides how octets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeContext {
    /// AS numbers in AS_PATH and AGGREGATOR have 4 octets.
    pub as4: bool,
    /// The longest message allowed, in octets; an OPEN never has more than 4096 (RFC 8654).
    pub max_len: usize,
    /// Families whose routes are sent with a path identifier (RFC 7911).
    pub add_path: FamilySet,
    /// IPv4 unicast routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
}

impl Default for EncodeContext {
    /// 4-octet AS numbers, and nothing else.
    fn default() -> Self {
        Self { as4: true, max_len: MAX_LEN, add_path: FamilySet::NONE, extended_next_hop: false }
    }
}

/// Reads one message.
///
/// # Errors
/// What has to reset the session. Lesser errors of an UPDATE are inside [`DecodedUpdate`].
pub fn decode(frame: Frame<'_>, ctx: &DecodeContext) -> Result<Decoded, WireError> {
    Ok(match frame.kind {
        MessageType::Open => Decoded::Open(open::decode(frame)?),
        MessageType::Update => return decode_update(frame, ctx),
        MessageType::Notification => Decoded::Notification(notification::decode(frame)?),
        MessageType::Keepalive => Decoded::Keepalive,
        MessageType::RouteRefresh => Decoded::RouteRefresh(refresh::decode(frame)?),
    })
}

fn decode_update(frame: Frame<'_>, ctx: &DecodeContext) -> Result<Decoded, WireError> {
    // Not moved out of a result: a view is large.
    let mut view = UpdateView::empty();
    view.read(frame, ctx)?;
    Ok(Decoded::Update(view.into_decoded()))
}

impl Decoded {
    /// The message, without what was wrong with it.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Open(open) => Message::Open(open),
            Self::Update(decoded) => Message::Update(decoded.update),
            Self::Notification(notification) => Message::Notification(notification),
            Self::Keepalive => Message::Keepalive,
            Self::RouteRefresh(refresh) => Message::RouteRefresh(refresh),
        }
    }
}

/// Octets that most messages do not need more of.
const ENOUGH: usize = 256;

/// Writes one message, always in the same form for equal messages.
///
/// # Errors
/// [`EncodeError`] if the message does not fit, or mixes families.
pub fn encode(message: &Message, ctx: &EncodeContext) -> Result<Bytes, EncodeError> {
    let mut out = Vec::with_capacity(ENOUGH);
    encode_into(message, ctx, &mut out)?;
    Ok(Bytes::from(out))
}

/// As [`encode`], but appends to `out`.
///
/// # Errors
/// Those of [`encode`]; `out` is as it was then.
pub fn encode_into(
    message: &Message,
    ctx: &EncodeContext,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    header::put(message.kind(), ctx.max_len, out, |out| match message {
        Message::Open(open) => open::put(open, out),
        Message::Update(update) => update::put(update, ctx, out),
        Message::Notification(notification) => {
            notification::put(notification, out);
            Ok(())
        }
        Message::Keepalive => Ok(()),
        Message::RouteRefresh(refresh) => {
            refresh::put(*refresh, out);
            Ok(())
        }
    })
}

impl Message {
    /// The type of the message.
    #[must_use]
    pub const fn kind(&self) -> MessageType {
        match self {
            Self::Open(_) => MessageType::Open,
            Self::Update(_) => MessageType::Update,
            Self::Notification(_) => MessageType::Notification,
            Self::Keepalive => MessageType::Keepalive,
            Self::RouteRefresh(_) => MessageType::RouteRefresh,
        }
    }
}
