//! A service's frontends in the kernel's words. nftables for now; IPVS comes beside it, over the same model.

pub mod nftables;
