//! Resources that are documents: read, listed, created and changed in the same way, whatever they are.

use super::Call;
use super::error::Failure;
use durable_objects::d1;
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::statements::Statement;
use registry::{ApiError, Page, Partition, Plane, statements};
use serde::Serialize;
use serde::de::DeserializeOwned;

const P: Partition = Partition::FIRST;

/// How often a change that lost a race is tried again before the client is asked to.
pub const TRIES: usize = 5;

/// The resource of this name, if there is one.
pub async fn read<T: DeserializeOwned>(
    call: &Call<'_>,
    kind: ResourceKind,
    name: &str,
) -> Result<Option<Resource<T>>, Failure> {
    Ok(read_row(call, kind, name).await?.map(Resource::try_from).transpose()?)
}

// What is waited for knows nothing of documents, so that it is compiled once.

async fn read_row(call: &Call<'_>, kind: ResourceKind, name: &str) -> Result<Option<ResourceRow>, Failure> {
    let rows: Vec<ResourceRow> = call.deployment.registry().read(statements::select_resource(P, kind, name)).await?;
    Ok(rows.into_iter().next())
}

/// A page of them, and one more.
pub async fn list<T: DeserializeOwned>(
    call: &Call<'_>,
    kind: ResourceKind,
    prefix: &str,
    page: &Page,
) -> Result<Vec<Resource<T>>, Failure> {
    let rows = list_rows(call, kind, prefix, page).await?;
    Ok(rows.into_iter().map(Resource::try_from).collect::<Result<_, _>>()?)
}

async fn list_rows(
    call: &Call<'_>,
    kind: ResourceKind,
    prefix: &str,
    page: &Page,
) -> Result<Vec<ResourceRow>, Failure> {
    Ok(call.deployment.registry().read(statements::list_resources(P, kind, prefix, page)).await?)
}

/// Stores a new one, unless there is one of the name. Gives what is stored then, and whether it is new.
pub async fn create<T: Serialize + DeserializeOwned>(
    call: &Call<'_>,
    kind: ResourceKind,
    candidate: &Resource<T>,
) -> Result<(Resource<T>, bool), Failure> {
    let batch =
        [statements::insert_resource(P, kind, candidate), statements::select_resource(P, kind, &candidate.name)];
    let (row, is_new) = store_new(call, &batch).await?;
    Ok((row.try_into()?, is_new))
}

async fn store_new(call: &Call<'_>, batch: &[Statement]) -> Result<(ResourceRow, bool), Failure> {
    let results = call.deployment.registry().batch(batch).await?;
    let rows: Vec<ResourceRow> = d1::rows_at(&results, 1)?;
    let stored = rows.into_iter().next().ok_or_else(|| Failure::Platform("the resource was not stored".to_owned()))?;
    Ok((stored, d1::changes_at(&results, 0)? > 0))
}

/// Changes one, again if somebody else was faster. `change` is told what is stored and gives what shall be, or why not.
pub async fn update<T: Serialize + DeserializeOwned>(
    call: &Call<'_>,
    kind: ResourceKind,
    name: &str,
    change: impl Fn(Option<Resource<T>>) -> Result<(Resource<T>, T), ApiError>,
) -> Result<Resource<T>, Failure> {
    for _ in 0..TRIES {
        let (stored, document) = change(read(call, kind, name).await?)?;
        let changed = stored.changed(document, call.now);
        if is_changed(call, statements::update_resource(P, kind, &stored, &changed)).await? {
            return Ok(changed);
        }
    }
    Err(busy().into())
}

/// Runs a statement; whether it has changed anything.
pub async fn is_changed(call: &Call<'_>, statement: Statement) -> Result<bool, Failure> {
    let results = call.deployment.registry().batch(&[statement]).await?;
    Ok(d1::changes_at(&results, 0)? > 0)
}

/// Too many at once.
pub fn busy() -> ApiError {
    ApiError::throttling(Plane::Iot, "The resource is being changed too often; try again")
}
