//! Wire contracts: replicated commands, peer RPC and the container runtime interface.
