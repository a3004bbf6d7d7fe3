//! A shadow's two sections, each with the time at which every leaf was last written.

use json_doc::{Map, Value, count_values, merge};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::collections::BTreeMap;
use std::io;

/// When each leaf was written, in seconds. It has the shape of the state it belongs to: the invariant of this module
/// is that the two always mirror each other exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// Of a scalar.
    At(u64),
    /// Of an array, one for each element.
    Items(Vec<Metadata>),
    /// Of an object.
    Fields(BTreeMap<String, Metadata>),
}

impl Metadata {
    /// Every leaf of `state` written at `at`.
    fn all(state: &Value, at: u64) -> Self {
        match state {
            Value::Array(items) => Self::Items(items.iter().map(|item| Self::all(item, at)).collect()),
            Value::Object(map) => {
                Self::Fields(map.iter().map(|(key, value)| (key.clone(), Self::all(value, at))).collect())
            }
            _ => Self::At(at),
        }
    }

    /// Follows `patch`, which has just been merged into what is now `state`. What the patch names is written at `at`
    /// even if it is equal to what was there, as AWS does.
    fn follow(&mut self, patch: &Value, state: &Value, at: u64) {
        let (Value::Object(patch), Value::Object(state)) = (patch, state) else {
            *self = Self::all(state, at);
            return;
        };
        if !matches!(self, Self::Fields(_)) {
            *self = Self::Fields(BTreeMap::new());
        }
        let Self::Fields(fields) = self else { return };
        for (key, change) in patch {
            match state.get(key) {
                None => {
                    fields.remove(key);
                }
                Some(value) => match fields.get_mut(key) {
                    Some(field) => field.follow(change, value, at),
                    None => {
                        fields.insert(key.clone(), Self::all(value, at));
                    }
                },
            }
        }
    }

    /// Appends the times of all leaves in the order in which `state` has them, as runs of equal times.
    fn runs(&self, state: &Value, runs: &mut Vec<(u64, u64)>) {
        match (self, state) {
            (Self::At(at), _) => match runs.last_mut() {
                Some((last, count)) if last == at => *count += 1,
                _ => runs.push((*at, 1)),
            },
            (Self::Items(times), Value::Array(items)) => {
                times.iter().zip(items).for_each(|(time, item)| time.runs(item, runs));
            }
            (Self::Fields(times), Value::Object(map)) => {
                for (key, value) in map {
                    if let Some(time) = times.get(key) {
                        time.runs(value, runs);
                    }
                }
            }
            // Excluded by the invariant; a row written in spite of it does not decode.
            _ => {}
        }
    }

    /// The inverse of [`runs`](Self::runs); `None` when `next` has no more times.
    fn restore(state: &Value, next: &mut impl FnMut() -> Option<u64>) -> Option<Self> {
        Some(match state {
            Value::Array(items) => {
                Self::Items(items.iter().map(|item| Self::restore(item, next)).collect::<Option<_>>()?)
            }
            Value::Object(map) => Self::Fields(
                map.iter()
                    .map(|(key, value)| Some((key.clone(), Self::restore(value, next)?)))
                    .collect::<Option<_>>()?,
            ),
            _ => Self::At(next()?),
        })
    }
}

/// One section of a shadow: a non-empty object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    state: Value,
    metadata: Metadata,
}

impl Section {
    /// A section from what a row holds; `None` unless the times are exactly those of the state's leaves.
    pub(crate) fn restore(state: Map<String, Value>, runs: &[(u64, u64)]) -> Option<Self> {
        let state = Value::Object(state);
        let (mut runs, mut current) = (runs.iter().copied(), (0, 0));
        let mut next = || {
            while current.1 == 0 {
                current = runs.next()?;
            }
            current.1 -= 1;
            Some(current.0)
        };
        let metadata = Metadata::restore(&state, &mut next)?;
        next().is_none().then_some(Self { state, metadata })
    }

    pub(crate) fn state(&self) -> &Value {
        &self.state
    }

    /// The times of all leaves, as [`restore`](Self::restore) takes them.
    pub(crate) fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        self.metadata.runs(&self.state, &mut runs);
        runs
    }

    /// The metadata of the part of this section that `shape` is.
    pub(crate) fn metadata<'a>(&'a self, shape: &'a Value) -> Stamped<'a> {
        Stamped { shape, times: Times::Each(Some(&self.metadata)) }
    }

    /// Merges into an optional section; one that is empty afterwards is none.
    fn merge(section: &mut Option<Self>, patch: &Value, at: u64) {
        let mut merged = section
            .take()
            .unwrap_or_else(|| Self { state: Value::Object(Map::new()), metadata: Metadata::Fields(BTreeMap::new()) });
        merge(&mut merged.state, patch);
        merged.metadata.follow(patch, &merged.state, at);
        *section = merged.state.as_object().is_some_and(|state| !state.is_empty()).then_some(merged);
    }
}

/// What a shadow that exists holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    pub(crate) desired: Option<Section>,
    pub(crate) reported: Option<Section>,
}

impl Document {
    /// Merges the `state` of an update: null clears both sections, a null section clears that one.
    pub(crate) fn apply(&mut self, state: &Value, at: u64) {
        let Value::Object(sections) = state else {
            *self = Self::default();
            return;
        };
        if let Some(patch) = sections.get("desired") {
            Section::merge(&mut self.desired, patch, at);
        }
        if let Some(patch) = sections.get("reported") {
            Section::merge(&mut self.reported, patch, at);
        }
    }

    /// What is desired and not reported.
    pub(crate) fn delta(&self) -> Option<Value> {
        let desired = self.desired.as_ref()?;
        match &self.reported {
            Some(reported) => json_doc::difference(&desired.state, &reported.state),
            None => Some(desired.state.clone()),
        }
    }

    /// Values in both sections.
    pub(crate) fn count_values(&self) -> usize {
        let count = |section: &Option<Section>| section.as_ref().map_or(0, |section| count_values(&section.state));
        count(&self.desired) + count(&self.reported)
    }
}

/// Bytes of compact JSON that `value` takes.
pub(crate) fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither the writer nor a JSON value can fail; were it so, the document would count as too large.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// Metadata as it goes on the wire: the shape of a state, with `{"timestamp":seconds}` in place of each leaf. A null in
/// the shape, which only a patch has, counts as a leaf.
pub(crate) struct Stamped<'a> {
    shape: &'a Value,
    times: Times<'a>,
}

#[derive(Clone, Copy)]
enum Times<'a> {
    /// The same for every leaf.
    All(u64),
    /// Each leaf's own; the shape is part of the state that these belong to.
    Each(Option<&'a Metadata>),
}

impl<'a> Stamped<'a> {
    /// Every leaf of `shape` at `at`.
    pub(crate) fn all(shape: &'a Value, at: u64) -> Self {
        Self { shape, times: Times::All(at) }
    }
}

impl Serialize for Stamped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.shape {
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, shape) in fields {
                    let times = match self.times {
                        Times::Each(Some(Metadata::Fields(times))) => Times::Each(times.get(key)),
                        other => other,
                    };
                    map.serialize_entry(key, &Stamped { shape, times })?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for (index, shape) in items.iter().enumerate() {
                    let times = match self.times {
                        Times::Each(Some(Metadata::Items(times))) => Times::Each(times.get(index)),
                        other => other,
                    };
                    sequence.serialize_element(&Stamped { shape, times })?;
                }
                sequence.end()
            }
            _ => {
                let at = match self.times {
                    Times::All(at) => at,
                    Times::Each(Some(Metadata::At(at))) => *at,
                    // Excluded by the invariant.
                    Times::Each(_) => 0,
                };
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("timestamp", &at)?;
                map.end()
            }
        }
    }
}
