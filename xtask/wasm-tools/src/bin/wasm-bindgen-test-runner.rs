//! `wasm-bindgen-test-runner`, built from the version that this workspace's Cargo.lock pins.
use std::env;

fn main() -> anyhow::Result<()> {
    env_logger::init();
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(env::args_os())
}
