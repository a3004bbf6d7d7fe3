//! What several clients are sent in one tick, kept once.
//!
//! Subscribers of the same topics get the same packets in the same order. What a connection has been given in this tick
//! is a chain of such packets; connections with the same chain share it, and the frame made of it.

use bytes::{Bytes, BytesMut};

/// A chain: the number of its last packet; `None` for one without packets. Numbers never come back: a chain of an
/// earlier tick is empty, and never somebody else's.
pub type Chain = Option<u64>;

/// The chains of a tick.
#[derive(Default)]
pub struct Frames {
    links: Vec<Link>,
    /// The number of the first of them.
    begin: u64,
    /// The last chain of one packet, which others are likely to begin with.
    first: Chain,
}

struct Link {
    before: Chain,
    packet: Bytes,
    /// Bytes up to and including this packet.
    length: usize,
    /// The last link that was added behind this one.
    next: Chain,
    frame: Option<Bytes>,
}

impl Frames {
    /// The chain with one packet more. Quick if the last one to continue it did so with the same bytes in memory.
    pub fn with(&mut self, chain: Chain, packet: &Bytes) -> Chain {
        let before = chain.and_then(|number| self.link(number));
        let next = before.map_or(self.first, |link| link.next);
        let is_same = |link: &Link| link.packet.as_ptr() == packet.as_ptr() && link.packet.len() == packet.len();
        if next.and_then(|number| self.link(number)).is_some_and(is_same) {
            return next;
        }
        let length = before.map_or(0, |link| link.length) + packet.len();
        let added = Some(self.begin + self.links.len() as u64);
        self.links.push(Link { before: chain, packet: packet.clone(), length, next: None, frame: None });
        match chain.and_then(|number| self.link_mut(number)) {
            Some(link) => link.next = added,
            None => self.first = added,
        }
        added
    }

    /// The packets, one behind the other: the same memory for whoever asks for the same chain.
    pub fn frame(&mut self, chain: Chain) -> Bytes {
        let Some(last) = chain.and_then(|number| self.link(number)) else { return Bytes::new() };
        if let Some(frame) = &last.frame {
            return frame.clone();
        }
        let frame = if last.before.is_none() {
            last.packet.clone()
        } else {
            let mut frame = BytesMut::zeroed(last.length);
            let mut at = Some(last);
            while let Some(link) = at {
                let start = link.length - link.packet.len();
                if let Some(place) = frame.get_mut(start..link.length) {
                    place.copy_from_slice(&link.packet);
                }
                at = link.before.and_then(|number| self.link(number));
            }
            frame.freeze()
        };
        if let Some(last) = chain.and_then(|number| self.link_mut(number)) {
            last.frame = Some(frame.clone());
        }
        frame
    }

    /// Forgets all chains.
    pub fn clear(&mut self) {
        self.begin += self.links.len() as u64;
        self.links.clear();
        self.first = None;
    }

    fn link(&self, number: u64) -> Option<&Link> {
        self.links.get(usize::try_from(number.checked_sub(self.begin)?).ok()?)
    }

    fn link_mut(&mut self, number: u64) -> Option<&mut Link> {
        self.links.get_mut(usize::try_from(number.checked_sub(self.begin)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_get_the_same_packets_share_one_frame() {
        let packets = ["one", "two", "three"].map(|text| Bytes::from_static(text.as_bytes()));
        let mut frames = Frames::default();
        let [mut a, mut b, mut c] = [None; 3];
        for packet in &packets {
            a = frames.with(a, packet);
            b = frames.with(b, packet);
        }
        c = frames.with(c, &packets[1]);
        let other = frames.with(a, &packets[0]);
        assert_eq!(a, b);
        assert_eq!(frames.frame(a), "onetwothree");
        assert_eq!(frames.frame(a).as_ptr(), frames.frame(b).as_ptr());
        assert_eq!(frames.frame(c), "two");
        assert_eq!(frames.frame(other), "onetwothreeone");
        assert_eq!(frames.frame(None), "");
        frames.clear();
        let again = frames.with(None, &packets[2]);
        assert_eq!(frames.frame(again), "three");
        assert_eq!(frames.frame(a), "", "of an earlier tick");
    }
}
