//! Maps for rings, to be put into the array of maps.
//!
//! Such a map must be like the template in the object, which the loader makes with a description of
//! its types (BTF). Linux 6.1 takes a map whose value is described as a structure and one whose
//! value is not described for different, so ours are described too.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use vc5_ebpf_abi::RING_SLOTS;

// Of `enum bpf_cmd` and `enum bpf_map_type`.
const MAP_CREATE: libc::c_long = 0;
const BTF_LOAD: libc::c_long = 18;
const MAP_TYPE_ARRAY: u32 = 2;

const NAME: [u8; 16] = *b"vc5_ring\0\0\0\0\0\0\0\0";
const SLOT_BYTES: u32 = size_of::<u16>() as u32;
const RING_BYTES: u32 = RING_SLOTS as u32 * SLOT_BYTES;

/// Names in the description; they are referred to by where they begin.
const NAMES: &[u8; 20] = b"\0u32\0u16\0Ring\0slots\0";

// Kinds of types, in the place that they have in a type's second word.
const KIND_INT: u32 = 1 << 24;
const KIND_ARRAY: u32 = 3 << 24;
const KIND_STRUCT: u32 = 4 << 24;

/// The types, counted from 1 on: `u32`, `u16`, an array of that, and a structure of that array.
const TYPES: [u32; 20] = [
    // Name, kind, bytes, bits.
    1,
    KIND_INT,
    4,
    32, //
    5,
    KIND_INT,
    SLOT_BYTES,
    8 * SLOT_BYTES, //
    // No name, kind, zero, type of the elements, type of the index, elements.
    0,
    KIND_ARRAY,
    0,
    2,
    1,
    RING_SLOTS as u32, //
    // Name, kind and members, bytes; the member's name, type and offset.
    9,
    KIND_STRUCT | 1,
    RING_BYTES,
    14,
    3,
    0,
];
const KEY_TYPE: u32 = 1;
const VALUE_TYPE: u32 = 4;

/// Header of a description (`struct btf_header`).
const HEADER: [u32; 6] = {
    let magic = if cfg!(target_endian = "little") { 0x0001_eb9f } else { 0xeb9f_0100 };
    let (length, types) = (24, size_of_val(&TYPES) as u32);
    [magic, length, 0, types, types, NAMES.len() as u32]
};

/// The attributes of `BPF_BTF_LOAD`.
#[repr(C)]
struct Load {
    btf: u64,
    log: u64,
    btf_size: u32,
    log_size: u32,
    log_level: u32,
    pad: u32,
}

/// The attributes of `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Default)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
}

/// What maps for rings are made from.
pub(super) struct Maker {
    description: OwnedFd,
}

impl Maker {
    pub(super) fn new() -> io::Result<Self> {
        let words = HEADER.iter().chain(&TYPES).flat_map(|word| word.to_ne_bytes());
        let bytes: Vec<u8> = words.chain(*NAMES).collect();
        let mut load = Load {
            btf: bytes.as_ptr() as u64,
            log: 0,
            btf_size: bytes.len() as u32,
            log_size: 0,
            log_level: 0,
            pad: 0,
        };
        // SAFETY: the attributes are of the kernel's layout, and the bytes as many as they say.
        unsafe { call(BTF_LOAD, &mut load) }.map(|description| Self { description })
    }

    /// An array of one ring.
    pub(super) fn make(&self) -> io::Result<OwnedFd> {
        let mut create = Create {
            map_type: MAP_TYPE_ARRAY,
            key_size: size_of::<u32>() as u32,
            value_size: RING_BYTES,
            max_entries: 1,
            map_name: NAME,
            btf_fd: self.description.as_raw_fd() as u32,
            btf_key_type_id: KEY_TYPE,
            btf_value_type_id: VALUE_TYPE,
            ..Create::default()
        };
        // SAFETY: the attributes are of the kernel's layout and point to nothing.
        unsafe { call(MAP_CREATE, &mut create) }
    }
}

/// A call that makes a descriptor.
///
/// # Safety
/// The attributes must be those of the command, and what they point to as large as they say.
unsafe fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the structure is as long as said; the rest is promised.
    let result = unsafe {
        let attributes = std::ptr::from_mut(attributes);
        libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>())
    };
    match libc::c_int::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
