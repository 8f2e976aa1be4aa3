//! Bootstrap tokens: Secrets of kube-system with which a new node learns whom to trust. They sign what
//! `kube-public/cluster-info` tells ([`signer`]), and go when their time is over ([`cleaner`]).

mod cleaner;
mod secret;
mod signer;

use runtime::{Cache, Source};

use crate::views::Whole;
use crate::{House, resources};
use secret::TokenSecret;

/// Which of the two run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) signer: bool,
    pub(crate) cleaner: bool,
}

pub(crate) fn start(house: &mut House<'_>, parts: Parts) {
    if !parts.signer && !parts.cleaner {
        return;
    }
    let secrets = Cache::<TokenSecret>::new();
    if parts.signer {
        let maps = Cache::<Whole<crate::views::ConfigMap>>::new();
        signer::start(house, &secrets, &maps);
        house.follow(&maps, Source::selected(&resources::CONFIG_MAPS, "metadata.name=cluster-info"));
    }
    if parts.cleaner {
        cleaner::start(house, &secrets);
    }
    let selector = format!("type={}", secret::TYPE);
    house.follow(&secrets, Source::selected(&resources::SECRETS, &selector));
}
