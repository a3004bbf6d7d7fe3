//! Keeps the indexes of fleet indexing up: looks at each thing and thing group that a message names, and writes what has
//! changed in its document. What was read is written only if nobody has written the document meanwhile, so messages may
//! come twice, late, in any order and to several consumers at once.

use crate::api::error::{Failure, unreachable};
use crate::api::objects::{ask, unexpected};
use crate::deployment::Deployment;
use crate::http;
use bytes::Bytes;
use durable_objects::{call_object, d1, indexing, log_line};
use fleet_index::{Connectivity, Estimates, Index, Query, Shadow, Shadows, schema};
use futures_util::{StreamExt as _, TryStreamExt as _};
use iot_types::{ClientId, ShadowName, ThingName};
use js_sys::Uint8Array;
use messages::address::{Address, ShardMap};
use messages::codec::Batch;
use messages::sessions::SessionsRequest;
use messages::thing::{Plane, ShadowOperation, ThingReply, ThingRequest};
use messages::{Reply, Request};
use registry::Partition;
use registry::indexing::{
    DocumentRow, IndexingConfiguration, NameRow, Stage, StoredRow, Walk, Wanted, Work, connectivity, settle, shadow,
    thing_document, thing_group_document,
};
use registry::resource::ResourceKind;
use registry::statements::{self, Statement};
use registry::thing::{ThingRecord, ThingRow};
use registry::thing_group::{GroupOfThingRow, ThingGroup, ThingGroupRow};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use worker::{D1Result, Env, MessageBatch, MessageExt, Result};

/// The queue's name in `wrangler.toml`.
pub const QUEUE: &str = "fleet-index";

/// Things whose documents are read and written together: two calls of D1 with up to four statements for each.
const TOGETHER: usize = 25;
/// The platform allows six connections at once for an invocation.
const AT_ONCE: usize = 6;
/// Names in a page of a walk.
const PAGE: u32 = 100;
/// Documents that a walk looks at before it goes back into the queue. Each may take a call of its Thing and one of a
/// Sessions shard, and an invocation may make a thousand.
const DOCUMENTS_OF_WALK: usize = 200;
/// Pages that a walk reads before it goes back into the queue, with whatever little is in them to do.
const PAGES_OF_WALK: usize = 20;
/// How often a document that somebody else has written meanwhile is looked at again before the message comes again.
const TRIES: usize = 5;

/// Consumes a batch. A message is acknowledged once all that it asks for is in the index, or in another message.
pub async fn consume(batch: &MessageBatch<()>, env: &Env) {
    let upkeep = match Upkeep::new(env).await {
        Ok(upkeep) => upkeep,
        Err(failure) => {
            log_failure(&failure);
            return batch.retry_all();
        }
    };
    let (mut changed, mut things, mut thing_groups) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for message in batch.raw_iter() {
        let done = match Work::decode(&Uint8Array::new(&message.body()).to_vec()) {
            Some(Work::Changed { things: more_things, thing_groups: more_groups }) => {
                things.extend(more_things);
                thing_groups.extend(more_groups);
                changed.push(message);
                continue;
            }
            Some(Work::Left { group, partition, after }) => upkeep.left(&group, partition, after).await,
            Some(Work::Walk(walk)) => upkeep.walk(walk).await,
            // A newer release's message: later, an instance that can read it gets it.
            None => Err(Failure::Platform("a message of the queue is unreadable".to_owned())),
        };
        match done {
            Ok(()) => message.ack(),
            Err(failure) => {
                log_failure(&failure);
                message.retry();
            }
        }
    }
    // A thing that several messages name is looked at once, for all of them.
    let done = match upkeep.look_at(Index::Things, things).await {
        Ok(()) => upkeep.look_at(Index::ThingGroups, thing_groups).await,
        failed => failed,
    };
    if let Err(failure) = &done {
        log_failure(failure);
    }
    for message in changed {
        if done.is_ok() { message.ack() } else { message.retry() }
    }
}

fn log_failure(failure: &Failure) {
    let reason = match failure {
        Failure::Platform(reason) => reason.clone(),
        Failure::Client(error) => error.to_string(),
        Failure::Data(reply) => format!("status {}", reply.status),
    };
    log_line(&json!({"level": "error", "event": "fleet_index_failed", "reason": reason}));
}

/// What the work of a batch needs.
struct Upkeep {
    deployment: Rc<Deployment>,
    configuration: IndexingConfiguration,
}

/// What shall be stored of a name, and what is.
struct Looked {
    name: String,
    wanted: Option<Wanted>,
    stored: Option<StoredRow>,
}

impl Upkeep {
    async fn new(env: &Env) -> core::result::Result<Self, Failure> {
        let stored = indexing::read(env).await?;
        let configuration = stored.map(|stored| stored.document).unwrap_or_default();
        Ok(Self { deployment: Deployment::of(env.clone())?, configuration })
    }

    /// Goes on with a walk, for as long as an invocation can.
    async fn walk(&self, mut walk: Walk) -> core::result::Result<(), Failure> {
        let partitions = self.deployment.partitions();
        let mut documents = 0;
        for _ in 0..PAGES_OF_WALK {
            // Another configuration has begun another walk.
            if !self.configuration.awaits(&walk) {
                return Ok(());
            }
            let rows = match walk.in_partition(partitions) {
                Some(partition) => self.page(&walk, partition).await?,
                None => Vec::new(),
            };
            let last = rows.last().filter(|_| rows.len() >= PAGE as usize).map(|row| row.name.clone());
            // What the registry has is in the index already, unless there is to be none.
            let is_all = walk.stage == Stage::Registered || !self.configuration.is_on(walk.index);
            let names: BTreeSet<String> =
                rows.into_iter().filter(|row| is_all || row.is_left == 1).map(|row| row.name).collect();
            documents += names.len();
            self.look_at(walk.index, names).await?;
            let Some(next) = walk.next(last, partitions) else { return self.end(&walk).await };
            walk = next;
            if documents >= DOCUMENTS_OF_WALK {
                break;
            }
        }
        self.go_on(Work::Walk(walk)).await
    }

    async fn page(&self, walk: &Walk, partition: Partition) -> Result<Vec<NameRow>> {
        let statement = match walk.stage {
            Stage::Registered => statements::list_registered_names(partition, walk.index, &walk.after, PAGE),
            Stage::Indexed => statements::list_indexed_names(partition, walk.index, &walk.after, PAGE),
        };
        self.deployment.registry().read(statement).await
    }

    /// The index is what is configured.
    async fn end(&self, walk: &Walk) -> core::result::Result<(), Failure> {
        for _ in 0..TRIES {
            let Some(stored) = indexing::read(&self.deployment.env).await? else { return Ok(()) };
            let Some(document) = stored.document.walked(walk) else { return Ok(()) };
            let changed = stored.changed(document, http::now());
            let statement = statements::update_resource(Partition::FIRST, ResourceKind::Setting, &stored, &changed);
            let results = self.deployment.registry().batch(&[statement]).await?;
            if d1::changes_at(&results, 0)? > 0 {
                return Ok(());
            }
        }
        Err(Failure::Platform("the indexing configuration is being changed too often".to_owned()))
    }

    /// Looks at the things that are indexed with a group that is no more.
    async fn left(&self, group: &str, partition: u16, after: String) -> core::result::Result<(), Failure> {
        let mut all = self.deployment.partitions().all().skip(partition.into());
        let Some(database) = all.next() else { return Ok(()) };
        let query = format!("thingGroupNames:\"{group}\"");
        let query = Query::parse(&query, &self.deployment.config.index_limits());
        let query = query.map_err(|error| Failure::Platform(error.to_string()))?;
        let statement = fleet_index::search(Index::Things, &query, &Estimates::default(), &after, PAGE);
        let statement = Statement::of_index(database, statement);
        let rows: Vec<DocumentRow> = self.deployment.registry().read(statement).await?;
        let last = rows.last().filter(|_| rows.len() >= PAGE as usize).map(|row| row.name.clone());
        self.look_at(Index::Things, rows.into_iter().map(|row| row.name).collect()).await?;
        let next = match last {
            Some(after) => Work::Left { group: group.to_owned(), partition, after },
            None if all.next().is_some() => {
                Work::Left { group: group.to_owned(), partition: partition.saturating_add(1), after: String::new() }
            }
            None => return Ok(()),
        };
        self.go_on(next).await
    }

    async fn go_on(&self, work: Work) -> core::result::Result<(), Failure> {
        if indexing::send(&self.deployment.env, &[work], 0).await {
            return Ok(());
        }
        Err(Failure::Platform("work on an index could not be put back into the queue".to_owned()))
    }

    /// Brings the documents of these names up to date.
    async fn look_at(&self, index: Index, names: BTreeSet<String>) -> core::result::Result<(), Failure> {
        let mut by_partition: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
        for name in names {
            let partition = match index {
                Index::Things => ThingName::new(name.as_str()).ok().map(|name| self.deployment.partitions().of(&name)),
                Index::ThingGroups => Some(Partition::FIRST),
            };
            // What is no name of a thing is no thing.
            if let Some(partition) = partition {
                by_partition.entry(partition).or_default().push(name);
            }
        }
        for (partition, names) in by_partition {
            for some in names.chunks(TOGETHER) {
                self.bring_up_to_date(index, partition, some.to_vec()).await?;
            }
        }
        Ok(())
    }

    async fn bring_up_to_date(
        &self,
        index: Index,
        partition: Partition,
        mut names: Vec<String>,
    ) -> core::result::Result<(), Failure> {
        for _ in 0..TRIES {
            let looked = match index {
                Index::Things => self.look_at_things(partition, &names).await?,
                Index::ThingGroups => self.look_at_thing_groups(partition, &names).await?,
            };
            names = self.write(index, partition, looked).await?;
            if names.is_empty() {
                return Ok(());
            }
        }
        Err(Failure::Platform("documents of an index are being changed too often".to_owned()))
    }

    /// Writes what has changed, in one transaction. Gives those that somebody else has written meanwhile.
    async fn write(
        &self,
        index: Index,
        partition: Partition,
        looked: Vec<Looked>,
    ) -> core::result::Result<Vec<String>, Failure> {
        let (mut batch, mut ends) = (Vec::new(), Vec::new());
        for Looked { name, wanted, stored } in looked {
            let statements = settle(partition, index, &name, wanted.as_ref(), stored);
            if !statements.is_empty() {
                batch.extend(statements);
                ends.push((batch.len() - 1, name));
            }
        }
        let results = self.deployment.registry().batch(&batch).await?;
        let mut lost = Vec::new();
        for (end, name) in ends {
            if d1::changes_at(&results, end)? == 0 {
                lost.push(name);
            }
        }
        Ok(lost)
    }

    async fn look_at_things(
        &self,
        partition: Partition,
        names: &[String],
    ) -> core::result::Result<Vec<Looked>, Failure> {
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut batch = vec![statements::select_groups_of_things(partition, &borrowed)];
        for name in names {
            // They are names of things: `look_at` has found their partition.
            let Ok(thing) = ThingName::new(name.as_str()) else { continue };
            batch.push(statements::select_thing(partition, &thing));
            batch.push(Statement::of_index(partition, schema::read(Index::Things, name)));
        }
        let results = self.deployment.registry().batch(&batch).await?;
        let groups: Vec<GroupOfThingRow> = d1::rows_at(&results, 0)?;
        let mut all = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let thing = first::<ThingRow>(&results, 2 * n + 1)?.map(ThingRecord::try_from).transpose()?;
            all.push((name, thing, first::<StoredRow>(&results, 2 * n + 2)?));
        }
        // The rest is asked for after what is stored was read: whoever writes it in between is noticed.
        let groups = &groups;
        futures_util::stream::iter(all)
            .map(|(name, thing, stored)| async move {
                let wanted = match thing {
                    Some(thing) => self.document(&thing, groups).await?,
                    None => None,
                };
                Ok(Looked { name: name.clone(), wanted, stored })
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn document(
        &self,
        thing: &ThingRecord,
        groups: &[GroupOfThingRow],
    ) -> core::result::Result<Option<Wanted>, Failure> {
        if !self.configuration.is_on(Index::Things) {
            return Ok(None);
        }
        let name = thing.thing_name.as_str();
        let groups: Vec<GroupOfThingRow> = groups.iter().filter(|row| row.thing_name == name).cloned().collect();
        let shadows = self.shadows(&thing.thing_name).await?;
        let connectivity = self.connectivity(&thing.thing_name).await?;
        let document = thing_document(&self.configuration, thing, &groups, shadows, connectivity);
        let limits = self.deployment.config.index_limits().document;
        Ok(document.map(|document| Wanted::thing(document, &limits)))
    }

    /// The shadows that the index has, of one thing.
    async fn shadows(&self, thing: &ThingName) -> core::result::Result<Shadows, Failure> {
        let names: Vec<Option<ShadowName>> = self
            .configuration
            .shadows()
            .into_iter()
            .filter_map(|name| name.map(ShadowName::new).transpose().ok())
            .collect();
        if names.is_empty() {
            return Ok(Shadows::default());
        }
        let request = |name: &Option<ShadowName>| {
            let (operation, payload) = (ShadowOperation::Get, Bytes::new());
            Request::Thing(ThingRequest::Shadow { shadow_name: name.clone(), operation, payload, plane: Plane::Http })
        };
        let batch = Batch { sender: None, requests: names.iter().map(request).collect() };
        let reply = call_object(&self.deployment.env, &Address::Thing(thing.clone()), &batch).await;
        let replies = reply.ok_or_else(|| unreachable("the Thing"))?.replies;
        let mut shadows = Shadows::default();
        for (name, reply) in names.into_iter().zip(replies) {
            let Reply::Thing(ThingReply { http: Some(http), .. }) = reply else { return Err(unexpected("the Thing")) };
            // There is none, or it is unreadable: that is logged where it is.
            let Some(found) = (http.status == 200).then(|| shadow(&http.body)).flatten() else { continue };
            match name {
                Some(name) => put_named(&mut shadows, name.as_str(), found),
                None => shadows.classic = Some(found),
            }
        }
        Ok(shadows)
    }

    /// Whether the client that has the thing's name is connected, if the index has that.
    async fn connectivity(&self, thing: &ThingName) -> core::result::Result<Option<Connectivity>, Failure> {
        let client_id = ClientId::new(thing.as_str()).filter(|_| self.configuration.has_connectivity());
        let Some(client_id) = client_id else { return Ok(None) };
        let sessions = Address::sessions_of_client(&client_id, &ShardMap::initial());
        let question = Request::Sessions(SessionsRequest::Describe { client_id });
        match ask(&self.deployment.env, sessions, question).await? {
            Reply::Client(state) => Ok(Some(connectivity(state.as_deref()))),
            _ => Err(unexpected("the Sessions shard")),
        }
    }

    async fn look_at_thing_groups(
        &self,
        partition: Partition,
        names: &[String],
    ) -> core::result::Result<Vec<Looked>, Failure> {
        let mut batch = Vec::new();
        for name in names {
            batch.push(statements::select_thing_group(partition, name));
            batch.push(Statement::of_index(partition, schema::read(Index::ThingGroups, name)));
        }
        let results = self.deployment.registry().batch(&batch).await?;
        let limits = self.deployment.config.index_limits().document;
        let mut all = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let group = first::<ThingGroupRow>(&results, 2 * n)?.map(ThingGroup::try_from).transpose()?;
            let document = group.and_then(|group| thing_group_document(&self.configuration, &group));
            let wanted = document.map(|document| Wanted::thing_group(&document, &limits));
            all.push(Looked { name: name.clone(), wanted, stored: first(&results, 2 * n + 1)? });
        }
        Ok(all)
    }
}

fn put_named(shadows: &mut Shadows, name: &str, shadow: Shadow) {
    shadows.name.insert(name.to_owned(), shadow);
}

fn first<T: serde::de::DeserializeOwned>(results: &[D1Result], place: usize) -> Result<Option<T>> {
    Ok(d1::rows_at(results, place)?.into_iter().next())
}
