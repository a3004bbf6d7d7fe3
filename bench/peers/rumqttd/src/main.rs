//! rumqttd with the configuration file that its only argument names.

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("which configuration file?"))?;
    let config: rumqttd::Config = toml::from_str(&std::fs::read_to_string(path)?)?;
    // returns when its listeners have ended, which they do not
    Ok(rumqttd::Broker::new(config).start()?)
}
