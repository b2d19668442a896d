//! Octets to messages and back, without state.
//!
//! A stream is cut by [`frame`], a frame read by [`decode`], a message written by [`encode`]; many
//! routes with the same attributes are packed by [`encode_announce`] and [`encode_withdraw`].
//! Errors carry what RFC 4271 and RFC 7606 want done about them, see [`WireError`].

mod attribute;
mod capability;
mod community;
mod error;
mod family;
mod header;
mod message;
mod nlri;
pub mod notification;
mod open;
mod pack;
mod parse;
mod refresh;
mod update;

#[cfg(test)]
pub(crate) mod tests;

pub use attribute::{
    Aggregator, AsPath, AsPathView, Attributes, AttributesView, OpaqueAttribute, Origin, Segment,
    SegmentKind,
};
pub use capability::{
    AddPath, BgpRole, Capability, ExtendedNextHop, GracefulRestart, LongLivedFamily, RestartFamily,
};
pub use community::{
    Community, ExtendedCommunity, LargeCommunity, LinkBandwidth, ParseCommunityError,
};
pub use error::{Action, EncodeError, Field, WireError};
pub use family::{Family, FamilySet};
pub use header::{EXTENDED_MAX_LEN, Frame, HEADER_LEN, MAX_LEN, MessageType, frame};
pub use message::{DecodeContext, Decoded, EncodeContext, Message, decode, encode, encode_into};
pub use nlri::Nlri;
pub use notification::{ErrorCode, Notification};
pub use open::{AS_TRANS, Open};
pub use pack::{encode_announce, encode_withdraw};
pub use refresh::{RefreshSubtype, RouteRefresh};
pub use update::{DecodedUpdate, MpReach, MpUnreach, NextHop, Update, UpdateView};
