//! Properties that most packets have none of.

use core::fmt;
use core::ops::{Deref, DerefMut};

/// What has a value without anything in it.
pub trait Empty: Default + PartialEq + 'static {
    /// That value.
    fn empty() -> &'static Self;
}

/// Properties that take no more than a pointer as long as there are none: a packet is moved several times on its way.
/// Reads as `T`; writing to it makes room for one.
#[derive(Clone)]
pub struct Rare<T>(Option<Box<T>>);

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        Self((value != *T::empty()).then(|| Box::new(value)))
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::empty())
    }
}

impl<T: Empty> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Empty> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Empty + Eq> Eq for Rare<T> {}

impl<T: Empty + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Packet, PublishProperties, Rare};

    #[test]
    fn it_is_what_was_put_in_and_empty_without() {
        let mut rare = Rare::<PublishProperties>::default();
        assert_eq!(*rare, PublishProperties::default());
        rare.topic_alias = None;
        assert_eq!(rare, Rare::default(), "room alone makes no difference");
        rare.topic_alias = Some(3);
        assert_eq!(rare, PublishProperties { topic_alias: Some(3), ..PublishProperties::default() }.into());
        assert_ne!(rare, Rare::default());
        assert_eq!(
            format!("{:?}", Rare::<PublishProperties>::default()),
            format!("{:?}", PublishProperties::default())
        );
    }

    #[test]
    fn a_packet_is_small_enough_to_be_moved() {
        assert!(size_of::<Packet>() <= 160, "{} bytes", size_of::<Packet>());
    }
}
