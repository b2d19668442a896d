//! IPv6 extension headers (RFC 8200 section 4).

pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const ESP: u8 = 50;
pub const AUTHENTICATION: u8 = 51;
pub const NO_NEXT: u8 = 59;
pub const DESTINATION_OPTIONS: u8 = 60;

/// An extension header: its type, and its bytes after the next header.
#[derive(Clone, Debug)]
pub struct Extension {
    pub kind: u8,
    rest: Vec<u8>,
}

impl Extension {
    /// A header of `8 * (1 + more)` bytes.
    fn new(kind: u8, more: u8, content: &[u8]) -> Self {
        let mut rest = vec![more];
        rest.extend(content);
        rest.resize(7 + 8 * usize::from(more), 0);
        Self { kind, rest }
    }

    /// The header, before one of type `next`.
    pub fn bytes(&self, next: u8) -> Vec<u8> {
        [&[next], self.rest.as_slice()].concat()
    }

    /// With another length field, whatever there is.
    pub fn claiming(mut self, more: u8) -> Self {
        self.rest[0] = more;
        self
    }
}

/// Hop-by-hop options, all PadN.
pub fn hop_by_hop(more: u8) -> Extension {
    Extension::new(HOP_BY_HOP, more, &[1, 4])
}

/// Destination options, all PadN.
pub fn destination_options(more: u8) -> Extension {
    Extension::new(DESTINATION_OPTIONS, more, &[1, 4])
}

/// A routing header of this type with no segments left.
pub fn routing(kind: u8, more: u8) -> Extension {
    Extension::new(ROUTING, more, &[kind, 0])
}

/// A routing header that is to be obeyed, as its addresses have not all been visited.
pub fn routing_on(kind: u8, more: u8) -> Extension {
    Extension::new(ROUTING, more, &[kind, 1])
}

/// A fragment header; `offset` in bytes, a multiple of eight.
pub fn fragment(offset: u16, more: bool, identification: u32) -> Extension {
    let [o0, o1] = (offset | u16::from(more)).to_be_bytes();
    let [i0, i1, i2, i3] = identification.to_be_bytes();
    // Its second byte is reserved and not a length.
    Extension::new(FRAGMENT, 0, &[o0, o1, i0, i1, i2, i3])
}

/// An authentication header of 24 bytes, whose length counts words of four less two.
pub fn authentication() -> Extension {
    Extension::new(AUTHENTICATION, 2, &[]).claiming(4)
}
