//! A service's frontends in the kernel's words. Decides rules from the model; never talks to the kernel.

pub mod ipvs;
pub mod nftables;
