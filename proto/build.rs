//! Compiles the .proto files without protoc: protox parses, tonic-prost-build generates.

/// Every file of `proto/` that is compiled, relative to that folder. A new contract is one line here
/// and one `include` in `src/lib.rs`.
const FILES: &[&str] = &["store.proto", "peer.proto", "cri.proto", "containerd.proto", "health.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        // Object bytes are slices of the buffer they arrived in, never copies.
        .bytes(".kontiki")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
