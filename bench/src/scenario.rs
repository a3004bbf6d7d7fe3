//! Who publishes what to whom, and where.

use anyhow::{Result, bail};
use iot_types::Qos;

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

/// Which Broker, or which of a floor's objects, a client is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All to the only one.
    One,
    /// Publishers to one, subscribers to the other.
    Two,
    /// The publisher to the first, subscribers to all in turn.
    Four,
}

impl Layout {
    pub fn brokers(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    pub fn subscriber(self, index: usize) -> u32 {
        match self {
            Self::One => 0,
            Self::Two => 1,
            Self::Four => u32::try_from(index % 4).unwrap_or_default(),
        }
    }

    /// The floor that is laid out like this.
    pub fn floor(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
            Self::Four => "four",
        }
    }
}

/// Messages from publishers to subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub shape: Shape,
    /// Of the publishes and of the subscriptions.
    pub qos: Qos,
    /// Bytes of the payload.
    pub payload: usize,
    pub layout: Layout,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// As much as goes through, in a closed loop.
    Saturate(Traffic),
    /// So many messages a second from each publisher, at fixed times.
    Paced { traffic: Traffic, per_second: u32 },
    /// So many clients that connect, leave and come again, each as fast as it can.
    Connects { connectors: usize },
    /// A subscriber to so many retained messages, again and again.
    Retained { topics: usize, payload: usize },
}

/// What scenarios are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Pairs,
    FanOut,
    FanIn,
    Cross,
    Connect,
    Latency,
    Retained,
}

impl Group {
    pub const ALL: [Self; 7] =
        [Self::Pairs, Self::FanOut, Self::FanIn, Self::Cross, Self::Connect, Self::Latency, Self::Retained];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::FanOut => "fan-out",
            Self::FanIn => "fan-in",
            Self::Cross => "cross",
            Self::Connect => "connect",
            Self::Latency => "latency",
            Self::Retained => "retained",
        }
    }

    /// Names with commas between them.
    ///
    /// # Errors
    /// When one of them is no group's.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let parse = |name: &str| {
            let found = Self::ALL.into_iter().find(|group| group.as_str() == name);
            let Some(group) = found else {
                bail!("--groups takes names of {}, not {name:?}", Self::ALL.map(Self::as_str).join(", "))
            };
            Ok(group)
        };
        text.split(',').map(parse).collect()
    }
}

/// One load with its name, as the results carry it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub group: Group,
    pub load: Load,
    /// Part of a run with `--quick`.
    pub is_quick: bool,
}

impl Scenario {
    /// How many Brokers the platform needs for it.
    pub fn brokers(&self) -> u32 {
        match self.load {
            Load::Saturate(traffic) | Load::Paced { traffic, .. } => traffic.layout.brokers(),
            Load::Connects { .. } | Load::Retained { .. } => 1,
        }
    }
}

/// All there are. `pairs`: how many, in the scenarios that are about pairs.
pub fn all(pairs: usize) -> Vec<Scenario> {
    use Group::{Cross, FanIn, FanOut, Pairs};
    use Layout::{Four, One, Two};
    use Qos::{AtLeastOnce as Qos1, AtMostOnce as Qos0, ExactlyOnce as Qos2};
    let traffic = [
        (Pairs, Shape::Pairs(pairs), Qos0, 64, One, true),
        (Pairs, Shape::Pairs(pairs), Qos0, 4096, One, false),
        (Pairs, Shape::Pairs(pairs), Qos1, 64, One, true),
        // not 4 KiB: mosquitto's WebSocket listener stalls on frames of more than 4,096 bytes (bench/README.md)
        (Pairs, Shape::Pairs(pairs), Qos1, 4000, One, false),
        (Pairs, Shape::Pairs(pairs), Qos2, 64, One, true),
        (Pairs, Shape::Pairs(pairs), Qos2, 4000, One, false),
        (FanOut, Shape::FanOut(10), Qos0, 64, One, true),
        (FanOut, Shape::FanOut(100), Qos0, 64, One, true),
        (FanOut, Shape::FanOut(1000), Qos0, 64, One, false),
        (FanOut, Shape::FanOut(100), Qos1, 64, One, false),
        (FanIn, Shape::FanIn(10), Qos0, 64, One, true),
        (FanIn, Shape::FanIn(100), Qos0, 64, One, false),
        (Cross, Shape::Pairs(pairs), Qos0, 64, Two, true),
        (Cross, Shape::Pairs(pairs), Qos1, 64, Two, false),
        (Cross, Shape::FanOut(100), Qos0, 64, Four, false),
        (Cross, Shape::FanOut(1000), Qos0, 64, Four, false),
    ];
    let saturating = traffic.map(|(group, shape, qos, payload, layout, is_quick)| {
        let load = Load::Saturate(Traffic { shape, qos, payload, layout });
        Scenario { name: name(load), group, load, is_quick }
    });
    let paced = Traffic { shape: Shape::Pairs(pairs), qos: Qos0, payload: 64, layout: One };
    let others = [
        (Group::Connect, Load::Connects { connectors: 16 }, true),
        (Group::Latency, Load::Paced { traffic: paced, per_second: 20 }, true),
        (Group::Retained, Load::Retained { topics: 1000, payload: 64 }, true),
    ];
    let others = others.map(|(group, load, is_quick)| Scenario { name: name(load), group, load, is_quick });
    saturating.into_iter().chain(others).collect()
}

fn name(load: Load) -> String {
    let bytes = |count: usize| {
        if count.is_multiple_of(1024) { format!("{} KiB", count / 1024) } else { format!("{count} B") }
    };
    match load {
        Load::Saturate(traffic) => {
            let Traffic { shape, qos, payload, layout } = traffic;
            let over = match layout {
                Layout::One => String::new(),
                layout => format!(" over {} Brokers", layout.brokers()),
            };
            format!("{}{over}, QoS {}, {}", shape_name(shape), qos.bits(), bytes(payload))
        }
        Load::Paced { traffic: Traffic { shape, qos, payload, .. }, per_second } => {
            let (shape, payload) = (shape_name(shape), bytes(payload));
            format!("{shape}, {per_second} messages/s each, QoS {}, {payload}", qos.bits())
        }
        Load::Connects { connectors } => format!("connects, {connectors} at a time"),
        Load::Retained { topics, payload } => format!("{topics} retained, QoS 0, {}", bytes(payload)),
    }
}

fn shape_name(shape: Shape) -> String {
    match shape {
        Shape::Pairs(count) => format!("{count} pairs"),
        Shape::FanOut(count) => format!("fan-out 1→{count}"),
        Shape::FanIn(count) => format!("fan-in {count}→1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
    fn over_two_brokers_no_subscriber_is_where_publishers_are_and_over_four_all_have_as_many() {
        assert!((0..10).all(|index| Layout::Two.subscriber(index) != 0));
        let counts = (0..4).map(|broker| (0..100).filter(|index| Layout::Four.subscriber(*index) == broker).count());
        assert_eq!(counts.collect::<Vec<_>>(), [25; 4]);
        for layout in [Layout::One, Layout::Two, Layout::Four] {
            assert!((0..100).all(|index| layout.subscriber(index) < layout.brokers()), "{layout:?}");
        }
    }

    #[test]
    fn names_are_different_and_every_group_has_a_quick_scenario() {
        let all = all(10);
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        assert!(
            names.contains("10 pairs, QoS 0, 4 KiB") && names.contains("fan-out 1→100 over 4 Brokers, QoS 0, 64 B")
        );
        let quick: BTreeSet<Group> =
            all.iter().filter(|scenario| scenario.is_quick).map(|scenario| scenario.group).collect();
        assert_eq!(quick, Group::ALL.into_iter().collect());
    }

    #[test]
    fn groups_are_read_by_name() {
        assert_eq!(Group::parse_list("latency,fan-in").unwrap(), [Group::Latency, Group::FanIn]);
        assert!(Group::parse_list("fanin").is_err() && Group::parse_list("").is_err());
    }
}
