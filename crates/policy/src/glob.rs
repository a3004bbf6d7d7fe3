//! Matching with `*` and `?`.

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: one character.
    One,
    /// `*`: any number of characters.
    Any,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glob {
    /// `*`
    Everything,
    /// No wildcard.
    Exact(Box<[u8]>),
    /// One `*`, at the end.
    Prefix(Box<[u8]>),
    /// Anything else.
    Tokens(Box<[Token]>),
}

impl Glob {
    /// Compiles a pattern.
    pub fn new(mut tokens: Vec<Token>) -> Self {
        tokens.dedup_by(|a, b| *a == Token::Any && *b == Token::Any);
        let bytes: Vec<u8> = tokens
            .iter()
            .filter_map(|token| match token {
                Token::Byte(byte) => Some(*byte),
                _ => None,
            })
            .collect();
        let wildcards = tokens.len() - bytes.len();
        match (wildcards, tokens.last()) {
            (0, _) => Self::Exact(bytes.into()),
            (1, Some(Token::Any)) if bytes.is_empty() => Self::Everything,
            (1, Some(Token::Any)) => Self::Prefix(bytes.into()),
            _ => Self::Tokens(tokens.into()),
        }
    }

    /// Whether the whole text matches. Takes time in proportion to the lengths of both, multiplied, at worst.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        match self {
            Self::Everything => true,
            Self::Exact(bytes) => **bytes == *text,
            Self::Prefix(bytes) => text.starts_with(bytes),
            Self::Tokens(tokens) => matches(tokens, text),
        }
    }

    /// What is left to match of a text that begins with `prefix`; `None` when nothing that does can match. The pattern
    /// itself, in [`Rest::Whole`], when a wildcard has a part in the prefix.
    pub fn behind(&self, prefix: &str) -> Option<Rest> {
        let prefix = prefix.as_bytes();
        match self {
            Self::Everything => Some(Rest::Behind(Self::Everything)),
            Self::Exact(bytes) => bytes.strip_prefix(prefix).map(|rest| Rest::Behind(Self::Exact(rest.into()))),
            Self::Prefix(bytes) => match bytes.strip_prefix(prefix) {
                Some([]) => Some(Rest::Behind(Self::Everything)),
                Some(rest) => Some(Rest::Behind(Self::Prefix(rest.into()))),
                None => prefix.starts_with(bytes).then_some(Rest::Behind(Self::Everything)),
            },
            Self::Tokens(tokens) => {
                let literal = tokens.iter().take_while(|token| matches!(token, Token::Byte(_))).count();
                let agrees = tokens.iter().zip(prefix).take(literal).all(|(token, byte)| *token == Token::Byte(*byte));
                if !agrees {
                    None
                } else if let Some(rest) = tokens.get(prefix.len()..).filter(|_| literal >= prefix.len()) {
                    Some(Rest::Behind(Self::new(rest.to_vec())))
                } else {
                    Some(Rest::Whole)
                }
            }
        }
    }

    /// Whether two texts, one behind the other, match.
    pub fn matches_joined(&self, first: &str, second: &str) -> bool {
        match self {
            Self::Tokens(tokens) => matches_text(tokens, first.len() + second.len(), |at| {
                first.as_bytes().get(at).or_else(|| second.as_bytes().get(at - first.len())).copied()
            }),
            Self::Everything => true,
            Self::Exact(bytes) => bytes.strip_prefix(first.as_bytes()) == Some(second.as_bytes()),
            Self::Prefix(bytes) => match bytes.strip_prefix(first.as_bytes()) {
                Some(rest) => second.as_bytes().starts_with(rest),
                None => first.as_bytes().starts_with(bytes),
            },
        }
    }
}

/// See [`Glob::behind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Matches what follows the prefix.
    Behind(Glob),
    /// Prefix and what follows have to be matched together.
    Whole,
}

fn matches(tokens: &[Token], text: &[u8]) -> bool {
    matches_text(tokens, text.len(), |at| text.get(at).copied())
}

/// Goes back to the last `*` only: what an earlier one could take more of, the later one can, too.
fn matches_text(tokens: &[Token], length: usize, byte: impl Fn(usize) -> Option<u8>) -> bool {
    let (mut token_at, mut text_at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let is_forward = match (tokens.get(token_at), byte(text_at)) {
            (Some(Token::Any), _) => {
                retry = Some((token_at, text_at));
                token_at += 1;
                continue;
            }
            (Some(Token::Byte(wanted)), Some(found)) if *wanted == found => {
                text_at += 1;
                true
            }
            (Some(Token::One), Some(_)) => {
                text_at = next_character(text_at, length, &byte);
                true
            }
            (None, None) => return true,
            _ => false,
        };
        if is_forward {
            token_at += 1;
            continue;
        }
        let Some((any_at, from)) = retry.filter(|(_, from)| *from < length) else { return false };
        let from = next_character(from, length, &byte);
        retry = Some((any_at, from));
        (token_at, text_at) = (any_at + 1, from);
    }
}

/// UTF-8: the bytes inside a character begin with the bits 10.
fn next_character(at: usize, length: usize, byte: &impl Fn(usize) -> Option<u8>) -> usize {
    let mut next = at + 1;
    while next < length && byte(next).is_some_and(|byte| byte & 0xc0 == 0x80) {
        next += 1;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> Glob {
        Glob::new(
            text.bytes()
                .map(|byte| match byte {
                    b'*' => Token::Any,
                    b'?' => Token::One,
                    byte => Token::Byte(byte),
                })
                .collect(),
        )
    }

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            Some(('?', rest)) => !text.is_empty() && naive(rest, &text[1..]),
            Some((character, rest)) => text.first() == Some(character) && naive(rest, &text[1..]),
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        let pattern = glob(&"a*".repeat(200));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(199))));
        assert!(pattern.matches(&"a".repeat(5_000)));
    }

    proptest! {
        #[test]
        fn matching_is_what_a_naive_matcher_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,8}") {
            let pattern_characters: Vec<char> = pattern.chars().collect();
            let text_characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(glob(&pattern).matches(&text), naive(&pattern_characters, &text_characters));
        }

        #[test]
        fn what_is_behind_a_prefix_matches_what_the_whole_does(
            pattern in "[ab*?]{0,8}", prefix in "[ab]{0,4}", text in "[ab]{0,5}"
        ) {
            let pattern = glob(&pattern);
            let whole = pattern.matches(&format!("{prefix}{text}"));
            prop_assert_eq!(pattern.matches_joined(&prefix, &text), whole);
            match pattern.behind(&prefix) {
                None => prop_assert!(!whole),
                Some(Rest::Behind(rest)) => prop_assert_eq!(rest.matches(&text), whole),
                Some(Rest::Whole) => {}
            }
        }
    }
}
