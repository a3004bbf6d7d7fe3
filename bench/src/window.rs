//! The closed loop: how many messages of one publisher may be on their way.

use std::collections::VecDeque;

/// A sliding window over the sequence numbers of one publisher. A message leaves it when everything that was expected of
/// it has arrived, and the window slides when its oldest message leaves.
#[derive(Debug)]
pub struct Window {
    size: usize,
    /// Sequence number of the oldest message in `missing`.
    base: u64,
    /// For each message from `base` on: what is still expected of it.
    missing: VecDeque<u32>,
}

impl Window {
    /// `size`: messages on their way at once.
    pub fn new(size: usize) -> Self {
        Self { size, base: 0, missing: VecDeque::with_capacity(size) }
    }

    /// The sequence number of a message that may be sent now and of which `expected` arrivals are awaited.
    pub fn open(&mut self, expected: u32) -> Option<u64> {
        if self.missing.len() >= self.size {
            return None;
        }
        self.missing.push_back(expected);
        Some(self.base + self.missing.len() as u64 - 1)
    }

    /// Something of message `sequence` has arrived. Answers whether there is new room.
    pub fn arrive(&mut self, sequence: u64) -> bool {
        let Some(offset) = sequence.checked_sub(self.base).and_then(|offset| usize::try_from(offset).ok()) else {
            return false;
        };
        let Some(missing) = self.missing.get_mut(offset) else { return false };
        *missing = missing.saturating_sub(1);
        let before = self.base;
        while self.missing.front() == Some(&0) {
            self.missing.pop_front();
            self.base += 1;
        }
        self.base != before
    }

    /// Sequence number of the oldest message on its way, or of the next one.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }

    /// Stops waiting for what is on its way, and answers how many arrivals were given up.
    pub fn abandon(&mut self) -> u64 {
        self.base += self.missing.len() as u64;
        self.missing.drain(..).map(u64::from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_window_is_on_its_way() {
        let mut window = Window::new(2);
        assert_eq!([window.open(1), window.open(1), window.open(1)], [Some(0), Some(1), None]);
        assert!(window.arrive(0));
        assert_eq!([window.open(1), window.open(1)], [Some(2), None]);
    }

    #[test]
    fn a_message_counts_once_all_its_arrivals_are_there() {
        let mut window = Window::new(1);
        assert_eq!(window.open(3), Some(0));
        assert_eq!([window.arrive(0), window.arrive(0)], [false, false]);
        assert_eq!(window.open(3), None);
        assert!(window.arrive(0));
        assert!(window.is_empty());
        assert_eq!(window.open(3), Some(1));
    }

    #[test]
    fn a_late_arrival_behind_an_older_message_makes_room_together_with_it() {
        let mut window = Window::new(2);
        assert_eq!([window.open(1), window.open(1)], [Some(0), Some(1)]);
        assert!(!window.arrive(1));
        assert_eq!(window.open(1), None);
        assert!(window.arrive(0));
        assert_eq!(window.base(), 2);
    }

    #[test]
    fn arrivals_of_messages_that_are_not_on_their_way_change_nothing() {
        let mut window = Window::new(2);
        assert_eq!(window.open(1), Some(0));
        assert!(!window.arrive(7));
        assert!(window.arrive(0));
        assert!(!window.arrive(0));
        assert_eq!(window.base(), 1);
    }

    #[test]
    fn an_abandoned_window_says_what_was_lost_and_goes_on() {
        let mut window = Window::new(3);
        assert_eq!([window.open(2), window.open(2)], [Some(0), Some(1)]);
        window.arrive(1);
        assert_eq!(window.abandon(), 3);
        assert_eq!((window.is_empty(), window.open(2)), (true, Some(2)));
    }
}
