//! Settings of the account, of which there is one each: event configurations and logging options.

pub mod event_configuration;
pub mod logging;

/// The names under which they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Setting {
    EventConfigurations,
    IndexingConfiguration,
    LoggingOptions,
    V2LoggingOptions,
}

impl Setting {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventConfigurations => "event_configurations",
            Self::IndexingConfiguration => "indexing_configuration",
            Self::LoggingOptions => "logging_options",
            Self::V2LoggingOptions => "v2_logging_options",
        }
    }
}
