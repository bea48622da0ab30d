//! Compiles the protobuf files with protox, so that no `protoc` need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "etcd/kv.proto",
        "etcd/rpc.proto",
        "store.proto",
        "peer.proto",
        "join.proto",
        "admin.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        // They hold secrets: `src/proto.rs` says how they are shown.
        .skip_debug([
            "quorate.admin.v1.AddNodeReply",
            "quorate.join.v1.SignerHandOver",
        ])
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
