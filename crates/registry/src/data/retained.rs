//! GetRetainedMessage and ListRetainedMessages.

use super::{DataLimits, properties, topic_name};
use crate::error::ApiError;
use crate::input::{Query, Violations};
use crate::page::{self, List};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iot_types::{Qos, UnixMillis};
use messages::address::{Address, ShardMap};
use messages::publication::Publication;
use messages::router::{RetainedPage, RouterRequest};
use mqtt_topic::node::node_of;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Topics on a page, at most and when `maxResults` is absent.
const PAGE_SIZE: u32 = 200;

/// Matches all that can be retained: reserved topics, which a leading wildcard doesn't match, can't.
const EVERYTHING: &str = "#";

/// A valid GetRetainedMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetRetainedMessageRequest {
    /// From the path: a Topic Name.
    pub topic: String,
}

impl GetRetainedMessageRequest {
    /// Parses the path parameter.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn parse(topic: &str, limits: &DataLimits) -> Result<Self, ApiError> {
        Ok(Self { topic: topic_name(topic, "topic", limits)? })
    }

    /// Whom to ask, and what.
    #[must_use]
    pub fn addressed(&self, shards: &ShardMap) -> (Address, RouterRequest) {
        let request = RouterRequest::Retained { filter: self.topic.clone(), after: None, limit: 1 };
        (Address::router_of_node(node_of(&self.topic), shards), request)
    }
}

/// GetRetainedMessageResponse, from what the Router has for the topic.
///
/// # Errors
/// `ResourceNotFoundException`, also for a message that has expired and is not cleared away yet.
pub fn get_retained_message_response(
    request: &GetRetainedMessageRequest,
    page: &RetainedPage,
    now: UnixMillis,
) -> Result<Vec<u8>, ApiError> {
    let mut found = page.messages.iter().filter(|message| message.topic == request.topic && !message.is_expired(now));
    let Some(message) = found.next() else {
        return Err(ApiError::resource_not_found(format!("Topic {} has no retained message", request.topic)));
    };
    let user_properties = message.properties.as_ref().map(|properties| &properties.user_properties);
    let user_properties = match user_properties.filter(|user_properties| !user_properties.is_empty()) {
        None => Value::Null,
        Some(user_properties) => Value::from(properties::encode_user_properties(user_properties)),
    };
    let body = json!({
        "topic": message.topic,
        "payload": STANDARD.encode(&message.payload),
        "qos": message.qos.bits(),
        "lastModifiedTime": message.accepted_at.0,
        "userProperties": user_properties,
    });
    Ok(body.to_string().into_bytes())
}

/// A valid ListRetainedMessages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRetainedMessagesRequest {
    /// The page begins after this topic.
    pub after: Option<String>,
    /// The most topics on the page.
    pub max_results: u32,
}

impl ListRetainedMessagesRequest {
    /// Parses the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let max_results = query.max_results(PAGE_SIZE, PAGE_SIZE, &mut violations)?;
        violations.finish()?;
        let after = query.string("nextToken").map(|token| page::decode_token(List::RetainedMessages, token));
        Ok(Self { after: after.transpose()?, max_results })
    }
}

/// A [`RetainedPage`] without payloads, so that the pages of many Routers are little together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainedSummaries {
    summaries: Vec<Summary>,
    next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    topic: String,
    payload_size: usize,
    qos: Qos,
    last_modified: UnixMillis,
}

impl RetainedSummaries {
    /// Leaves out what has expired.
    #[must_use]
    pub fn of(page: RetainedPage, now: UnixMillis) -> Self {
        let summary = |message: Publication| Summary {
            payload_size: message.payload.len(),
            topic: message.topic,
            qos: message.qos,
            last_modified: message.accepted_at,
        };
        let messages = page.messages.into_iter().filter(|message| !message.is_expired(now));
        Self { summaries: messages.map(summary).collect(), next: page.next }
    }
}

/// A page of ListRetainedMessages that is put together from the pages of all Routers, in the order of the topics.
///
/// Each Router orders its own messages and may give fewer than were asked for. So what is known of all of them ends
/// where the shortest page ends, and the Routers are asked again from there until the page is full.
#[derive(Clone, Debug)]
pub struct RetainedListing {
    max_results: usize,
    /// Everything up to this topic is in `topics`.
    after: Option<String>,
    /// By topic: while a shard moves, two objects may have the same.
    topics: BTreeMap<String, Summary>,
    is_complete: bool,
}

impl RetainedListing {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(request: &ListRetainedMessagesRequest) -> Self {
        Self {
            max_results: usize::try_from(request.max_results).unwrap_or(usize::MAX),
            after: request.after.clone(),
            topics: BTreeMap::new(),
            is_complete: false,
        }
    }

    /// What to ask every Router now; `None` when the page is full or there is no more. One topic more than the page has
    /// room for tells whether there is another page.
    #[must_use]
    pub fn question(&self) -> Option<RouterRequest> {
        let wanted = (self.max_results + 1).saturating_sub(self.topics.len());
        let limit = u32::try_from(wanted).unwrap_or(PAGE_SIZE + 1);
        (limit > 0 && !self.is_complete).then(|| RouterRequest::Retained {
            filter: EVERYTHING.to_owned(),
            after: self.after.clone(),
            limit,
        })
    }

    /// Adds the answers of all Routers to the same question. `false` if they make no progress, which is a Router's
    /// fault: asking again would have no end.
    #[must_use]
    pub fn add(&mut self, pages: Vec<RetainedSummaries>) -> bool {
        let horizon = pages.iter().filter_map(|page| page.next.as_ref()).min().cloned();
        if horizon.is_some() && horizon <= self.after {
            return false;
        }
        for summary in pages.into_iter().flat_map(|page| page.summaries) {
            let is_known = horizon.as_ref().is_none_or(|horizon| summary.topic <= *horizon)
                && self.after.as_ref().is_none_or(|after| summary.topic > *after);
            if is_known {
                self.topics.insert(summary.topic.clone(), summary);
            }
        }
        self.is_complete = horizon.is_none();
        self.after = horizon.or(self.after.take());
        true
    }

    /// ListRetainedMessagesResponse. A listing that was cut off before its page was full continues where it stopped.
    #[must_use]
    pub fn response(self) -> Vec<u8> {
        let mut summaries: Vec<Summary> = self.topics.into_values().collect();
        let limit = u32::try_from(self.max_results).unwrap_or(u32::MAX);
        let next_token = page::cut(&mut summaries, limit, List::RetainedMessages, |summary| summary.topic.clone());
        let next_token = next_token.or_else(|| match self.after {
            Some(after) if !self.is_complete => page::continue_after(List::RetainedMessages, &after),
            _ => None,
        });
        let topics = summaries.into_iter().map(|summary| {
            json!({
                "topic": summary.topic,
                "payloadSize": summary.payload_size,
                "qos": summary.qos.bits(),
                "lastModifiedTime": summary.last_modified.0,
            })
        });
        let mut body = Map::new();
        body.insert("retainedTopics".to_owned(), topics.collect());
        if let Some(token) = next_token {
            body.insert("nextToken".to_owned(), token.into());
        }
        Value::Object(body).to_string().into_bytes()
    }
}
