//! Who publishes what to whom.

use iot_types::Qos;
use serde::Serialize;

/// How publishers and subscribers are joined by topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As many publishers as subscribers, each pair with a topic of its own.
    Pairs(usize),
    /// One publisher, this many subscribers.
    FanOut(usize),
    /// This many publishers, one subscriber.
    FanIn(usize),
}

impl Shape {
    pub fn publishers(self) -> usize {
        match self {
            Self::Pairs(count) | Self::FanIn(count) => count,
            Self::FanOut(_) => 1,
        }
    }

    pub fn subscribers(self) -> usize {
        match self {
            Self::Pairs(count) | Self::FanOut(count) => count,
            Self::FanIn(_) => 1,
        }
    }

    /// Deliveries that one publish makes.
    pub fn receivers(self) -> u32 {
        match self {
            Self::Pairs(_) | Self::FanIn(_) => 1,
            Self::FanOut(count) => u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// The topic of a publisher or a subscriber.
    pub fn topic_of(self, index: usize) -> usize {
        match self {
            Self::Pairs(_) => index,
            Self::FanOut(_) | Self::FanIn(_) => 0,
        }
    }
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub shape: Shape,
    /// Of the publishes and of the subscriptions.
    pub qos: Qos,
    /// Bytes of the payload.
    pub payload: usize,
}

/// A scenario with its name, as the results carry it.
#[derive(Clone, Debug, Serialize)]
pub struct Named {
    pub name: String,
    #[serde(skip)]
    pub scenario: Scenario,
}

/// Those that are measured; `quick` leaves out the long ones.
pub fn all(pairs: usize, quick: bool) -> Vec<Named> {
    use Qos::{AtLeastOnce as Qos1, AtMostOnce as Qos0};
    let rows = [
        (Shape::Pairs(pairs), Qos0, 64, true),
        (Shape::Pairs(pairs), Qos0, 4096, false),
        (Shape::Pairs(pairs), Qos1, 64, true),
        // not 4 KiB: mosquitto's WebSocket listener stalls on frames of more than 4,096 bytes (bench/README.md)
        (Shape::Pairs(pairs), Qos1, 4000, false),
        (Shape::FanOut(10), Qos0, 64, true),
        (Shape::FanOut(100), Qos0, 64, false),
        (Shape::FanIn(10), Qos0, 64, true),
    ];
    rows.into_iter()
        .filter(|(_, _, _, is_quick)| *is_quick || !quick)
        .map(|(shape, qos, payload, _)| Scenario { shape, qos, payload })
        .map(|scenario| Named { name: name(scenario), scenario })
        .collect()
}

fn name(Scenario { shape, qos, payload }: Scenario) -> String {
    let shape = match shape {
        Shape::Pairs(count) => format!("{count} pairs"),
        Shape::FanOut(count) => format!("fan-out 1→{count}"),
        Shape::FanIn(count) => format!("fan-in {count}→1"),
    };
    let payload = if payload % 1024 == 0 { format!("{} KiB", payload / 1024) } else { format!("{payload} B") };
    format!("{shape}, QoS {}, {payload}", qos.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: Shape, publishers: usize, subscribers: usize, receivers: u32) {
        assert_eq!((shape.publishers(), shape.subscribers(), shape.receivers()), (publishers, subscribers, receivers));
        let reached = |publisher: usize| {
            (0..subscribers).filter(|index| shape.topic_of(*index) == shape.topic_of(publisher)).count()
        };
        for publisher in 0..publishers {
            assert_eq!(reached(publisher), receivers as usize, "{shape:?}, publisher {publisher}");
        }
    }

    #[test]
    fn each_publish_reaches_as_many_subscribers_as_the_shape_says() {
        check(Shape::Pairs(3), 3, 3, 1);
        check(Shape::FanOut(100), 1, 100, 100);
        check(Shape::FanIn(10), 10, 1, 1);
    }

    #[test]
    fn names_are_different_and_the_quick_ones_are_among_all() {
        let names =
            |quick| all(10, quick).into_iter().map(|named| named.name).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names(false).len(), 7);
        assert!(names(true).is_subset(&names(false)) && names(true).len() < 7);
        assert!(names(false).contains("10 pairs, QoS 0, 4 KiB"));
    }
}
