//! Simulator, nemeses, workloads and independent checkers.
