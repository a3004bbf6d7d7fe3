//! wrangler.toml, the one description of the deployment.

use crate::repo::Repo;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// wrangler.toml as JSON.
pub struct Wrangler(Value);

impl Wrangler {
    /// # Errors
    /// When the file cannot be read.
    pub fn load(repo: &Repo) -> Result<Self> {
        let path = repo.path("wrangler.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(Self(toml::from_str(text).context("wrangler.toml")?))
    }

    /// The whole file.
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// The Worker's name.
    pub fn name(&self) -> &str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// The Durable Object classes that the bindings name.
    pub fn class_names(&self) -> Vec<String> {
        self.tables("/durable_objects/bindings").filter_map(|binding| text(binding, "class_name")).collect()
    }

    /// The D1 databases, as (binding, name, id once it has one).
    pub fn databases(&self) -> Vec<(String, String, Option<String>)> {
        self.tables("/d1_databases")
            .filter_map(|table| {
                Some((text(table, "binding")?, text(table, "database_name")?, text(table, "database_id")))
            })
            .collect()
    }

    /// Every queue that is produced to, consumed from or a dead-letter queue.
    pub fn queues(&self) -> BTreeSet<String> {
        let produced = self.tables("/queues/producers").filter_map(|table| text(table, "queue"));
        let consumed = self.tables("/queues/consumers").filter_map(|table| text(table, "queue"));
        let dead = self.tables("/queues/consumers").filter_map(|table| text(table, "dead_letter_queue"));
        produced.chain(consumed).chain(dead).collect()
    }

    fn tables(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
    }
}

fn text(table: &Value, key: &str) -> Option<String> {
    table.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repositorys_wrangler_toml_says_what_the_commands_need() {
        let wrangler = Wrangler::load(&Repo::find().unwrap()).unwrap();
        assert_eq!(wrangler.name(), "umbra");
        assert!(wrangler.class_names().contains(&"Broker".to_owned()));
        assert!(wrangler.databases().iter().any(|(binding, _, _)| binding == "REGISTRY_0"));
        assert!(wrangler.queues().contains("rule-actions"));
    }

    #[test]
    fn test_hooks_are_never_deployed() {
        let wrangler = Wrangler::load(&Repo::find().unwrap()).unwrap();
        assert!(!wrangler.as_json().to_string().contains("TEST_HOOKS"));
    }

    #[test]
    fn dead_letter_queues_count_as_queues_and_none_is_listed_twice() {
        let wrangler = Wrangler::parse(
            "[[queues.producers]]\nbinding='A'\nqueue='a'\n[[queues.consumers]]\nqueue='a'\ndead_letter_queue='b'\n",
        )
        .unwrap();
        assert_eq!(wrangler.queues().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
