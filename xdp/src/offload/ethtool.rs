//! Offloads by the kernel's ethtool interface (`SIOCETHTOOL`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use super::{Feature, Switches};

// linux/ethtool.h and linux/sockios.h
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// Words before the data of the requests below.
const STRINGS_HEADER: usize = 3;
const FEATURES_HEADER: usize = 2;
/// Words of a block of 32 features when read: available, requested, active, never changed.
const READ_BLOCK: usize = 4;
/// Words of a block when set: which are meant, and how they shall be.
const SET_BLOCK: usize = 2;

/// `struct ethtool_sset_info` with room for one answer.
#[repr(C)]
struct StringSets {
    cmd: u32,
    reserved: u32,
    mask: u64,
    count: u32,
}

/// The kernel, asked through any socket of this network namespace.
#[derive(Debug)]
pub(crate) struct Ethtool(UnixDatagram);

impl Ethtool {
    pub(crate) fn open() -> io::Result<Self> {
        UnixDatagram::unbound().map(Self)
    }

    /// Names of all features, by their bits; empty for a bit without one.
    fn names(&self, interface: &str) -> io::Result<Vec<String>> {
        let mask = 1 << ETH_SS_FEATURES;
        let mut sets = StringSets { cmd: ETHTOOL_GSSET_INFO, reserved: 0, mask, count: 0 };
        // SAFETY: the request asks for one set of strings, and has room for the number of one.
        unsafe { self.call(interface, (&raw mut sets).cast())? };
        let count = sets.count as usize;

        let mut strings = vec![0_u32; STRINGS_HEADER + count * ETH_GSTRING_LEN / size_of::<u32>()];
        write(&mut strings, &[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, sets.count]);
        // SAFETY: there is room for as many strings as the kernel has, which is a constant of it.
        unsafe { self.call(interface, strings.as_mut_ptr().cast())? };
        let bytes: Vec<u8> =
            strings.iter().skip(STRINGS_HEADER).flat_map(|word| word.to_ne_bytes()).collect();
        let text = |name: &[u8]| {
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        Ok(bytes.chunks(ETH_GSTRING_LEN).map(text).collect())
    }

    /// # Safety
    /// `request` must begin with an ethtool command, and be as long as the kernel reads and writes
    /// for that.
    unsafe fn call(&self, interface: &str, request: *mut libc::c_char) -> io::Result<()> {
        // SAFETY: all zero is a valid one.
        let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays zero, as the kernel wants the name to end with one.
        let room = ifreq.ifr_name.len() - 1;
        if interface.len() > room {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        ifreq.ifr_ifru.ifru_data = request;
        // SAFETY: the interface request names an interface and a request that is as the caller
        // promises; both outlive the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Switches for Ethtool {
    fn features(&self, interface: &str) -> io::Result<BTreeMap<String, Feature>> {
        let names = self.names(interface)?;
        let blocks = names.len().div_ceil(32);
        let mut request = vec![0_u32; FEATURES_HEADER + blocks * READ_BLOCK];
        write(&mut request, &[ETHTOOL_GFEATURES, blocks as u32]);
        // SAFETY: the request says for how many blocks it has room.
        unsafe { self.call(interface, request.as_mut_ptr().cast())? };
        let state = |bit: usize| {
            let block = request.get(FEATURES_HEADER..)?.chunks_exact(READ_BLOCK).nth(bit / 32)?;
            let [available, _requested, active, never_changed] = *block else { return None };
            let has = |word: u32| word & 1 << (bit % 32) != 0;
            Some(Feature { on: has(active), changeable: has(available) && !has(never_changed) })
        };
        let named = names.into_iter().enumerate().filter(|(_, name)| !name.is_empty());
        Ok(named.filter_map(|(bit, name)| Some((name, state(bit)?))).collect())
    }

    fn switch_off(&self, interface: &str, feature: &str) -> io::Result<()> {
        let names = self.names(interface)?;
        let bit = names.iter().position(|name| name == feature);
        let bit = bit.ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))?;
        let blocks = names.len().div_ceil(32);
        let mut request = vec![0_u32; FEATURES_HEADER + blocks * SET_BLOCK];
        write(&mut request, &[ETHTOOL_SFEATURES, blocks as u32]);
        let meant = request.get_mut(FEATURES_HEADER + bit / 32 * SET_BLOCK);
        meant.into_iter().for_each(|word| *word = 1 << (bit % 32));
        // SAFETY: the request says how many blocks it has.
        unsafe { self.call(interface, request.as_mut_ptr().cast()) }
    }
}

fn write(request: &mut [u32], header: &[u32]) {
    for (to, from) in request.iter_mut().zip(header) {
        *to = *from;
    }
}
