//! A range of addresses, as `loadBalancerSourceRanges` writes it.

use std::fmt;
use std::net::IpAddr;

use super::Family;

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    address: IpAddr,
    bits: u8,
}

impl Range {
    /// Reads `10.0.0.0/8`; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.trim().split_once('/')?;
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse().ok()?);
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        (bits <= bits_max).then_some(Self { address, bits })
    }

    /// The family of its addresses.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_refused() {
        let read = |text| Range::parse(text).map(|range| range.to_string());
        assert_eq!(read(" 10.0.0.0/8 "), Some("10.0.0.0/8".to_owned()));
        assert_eq!(read("fd00::/64"), Some("fd00::/64".to_owned()));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "x/8", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
