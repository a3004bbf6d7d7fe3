//! `wasm-bindgen`, built from the version that this workspace's Cargo.lock pins. Not under its own name: rustc takes a crate of that name
//! for the library and refuses it as too old by this package's version.
use std::env;

fn main() -> anyhow::Result<()> {
    env_logger::init();
    wasm_bindgen_cli::wasm_bindgen::run_cli_with_args(env::args_os())
}
