//! Which plane carries services on this node, and why.

use std::fmt;
use std::io;
use std::str::FromStr;

/// What somebody asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// IPVS where the kernel has it, else nftables.
    #[default]
    Auto,
    /// IPVS, or nothing.
    Ipvs,
    /// nftables, whatever the kernel has.
    Nftables,
}

impl ProxyMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Ipvs, Self::Nftables];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ipvs => "ipvs",
            Self::Nftables => "nftables",
        }
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ProxyMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|mode| mode.name() == text);
        known.ok_or_else(|| format!("the proxy's modes are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What was chosen; `T` is IPVS, found and ready.
#[derive(Debug)]
pub enum Choice<T> {
    /// IPVS carries services.
    Ipvs(T),
    /// nftables does.
    Nftables,
}

/// Chooses; `find` is only asked where its answer counts, because looking for IPVS loads its modules. The text says
/// what was chosen and why.
///
/// # Errors
/// IPVS was asked for and is not there.
pub fn choose<T>(wanted: ProxyMode, find: impl FnOnce() -> io::Result<T>) -> io::Result<(Choice<T>, String)> {
    if wanted == ProxyMode::Nftables {
        return Ok((Choice::Nftables, "nftables carries services: it was asked for".to_owned()));
    }
    match (find(), wanted) {
        (Ok(found), ProxyMode::Auto) => {
            Ok((Choice::Ipvs(found), "IPVS carries services: this kernel has it".to_owned()))
        }
        (Ok(found), _) => Ok((Choice::Ipvs(found), "IPVS carries services: it was asked for".to_owned())),
        (Err(error), ProxyMode::Auto) => {
            let why = format!("nftables carries services: IPVS cannot be used on this kernel ({error})");
            Ok((Choice::Nftables, why))
        }
        (Err(error), _) => {
            let why =
                format!("IPVS was asked for (--proxy-mode ipvs) and cannot be used on this kernel: {error}");
            Err(io::Error::new(error.kind(), why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen for `mode` on a kernel with and without IPVS.
    fn check(mode: &str, with: &str, without: &str) {
        let shown = |found: io::Result<()>| {
            let mode = mode.parse().expect("a mode");
            match choose(mode, || found) {
                Ok((_, why)) => why,
                Err(error) => format!("error: {error}"),
            }
        };
        assert_eq!(shown(Ok(())), with);
        assert_eq!(shown(Err(io::Error::other("no such family"))), without);
    }

    #[test]
    fn the_choice_says_why() {
        check(
            "auto",
            "IPVS carries services: this kernel has it",
            "nftables carries services: IPVS cannot be used on this kernel (no such family)",
        );
        check(
            "ipvs",
            "IPVS carries services: it was asked for",
            "error: IPVS was asked for (--proxy-mode ipvs) and cannot be used on this kernel: no such family",
        );
        let asked = "nftables carries services: it was asked for";
        check("nftables", asked, asked);
        assert_eq!(
            "iptables".parse::<ProxyMode>(),
            Err("the proxy's modes are auto, ipvs, nftables".to_owned())
        );
    }

    #[test]
    fn nobody_looks_for_what_was_not_asked_for() {
        let chosen = choose(ProxyMode::Nftables, || -> io::Result<()> { panic!("looked") });
        assert!(matches!(chosen, Ok((Choice::Nftables, _))));
    }
}
