//! Which file a task reads.

/// `inputFileBucket` and `inputFileKey`: the names of an S3 bucket and of an object in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    bucket: String,
    key: String,
}

/// A name that breaks the service model: `InvalidRequestException`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// `RegistryS3BucketName`.
    #[error("inputFileBucket must have 3 to 256 characters and match [a-zA-Z0-9._-]+")]
    Bucket,
    /// `RegistryS3KeyName`.
    #[error("inputFileKey must have 1 to 1024 characters and match [a-zA-Z0-9!_.*'()-\\/]+")]
    Key,
    /// No `s3://bucket/key`.
    #[error("the input file must be given as s3://bucket/key")]
    Url,
}

impl InputFile {
    /// Checks the names against the service model.
    ///
    /// # Errors
    /// [`InputError::Bucket`], [`InputError::Key`].
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Result<Self, InputError> {
        let (bucket, key) = (bucket.into(), key.into());
        let of_bucket = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        // In the model's `)-\/` the hyphen makes a range, from `)` to `/`, in which are `*`, `+`, `,`, `-` and `.`.
        let of_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'_' | b'\'' | b'('..=b'/');
        if !(3..=256).contains(&bucket.len()) || !bucket.bytes().all(of_bucket) {
            return Err(InputError::Bucket);
        }
        if !(1..=1_024).contains(&key.len()) || !key.bytes().all(of_key) {
            return Err(InputError::Key);
        }
        Ok(Self { bucket, key })
    }

    /// Reads `s3://bucket/key`.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn from_url(url: &str) -> Result<Self, InputError> {
        let (bucket, key) = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).ok_or(InputError::Url)?;
        Self::new(bucket, key)
    }

    /// `inputFileBucket`.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// `inputFileKey`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key in an R2 bucket that stands for all of S3: `bucket/key`. The name of a bucket has no slash, so files of
    /// two buckets never meet.
    #[must_use]
    pub fn r2_key(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_service_model() {
        for (bucket, key, expected) in [
            ("my-bucket", "dir/provisioning-data.json", Ok("my-bucket/dir/provisioning-data.json")),
            ("a.b", "!_.*'()-/x,+", Ok("a.b/!_.*'()-/x,+")),
            ("ab", "k", Err(InputError::Bucket)),
            (&"b".repeat(257), "k", Err(InputError::Bucket)),
            ("a/b", "k", Err(InputError::Bucket)),
            ("bucket", "", Err(InputError::Key)),
            ("bucket", &"k".repeat(1_025), Err(InputError::Key)),
            ("bucket", "a b", Err(InputError::Key)),
            ("bucket", "a&b", Err(InputError::Key)),
            ("bucket", "ä", Err(InputError::Key)),
        ] {
            let read = InputFile::new(bucket, key).map(|file| file.r2_key());
            assert_eq!(read.as_deref().map_err(|error| *error), expected, "{bucket} {key}");
        }
    }

    #[test]
    fn a_url_names_a_bucket_and_a_key() {
        let file = InputFile::from_url("s3://bucket/a/b.json").unwrap();
        assert_eq!((file.bucket(), file.key()), ("bucket", "a/b.json"));
        for (url, expected) in [
            ("", InputError::Url),
            ("https://bucket/key", InputError::Url),
            ("s3://bucket", InputError::Url),
            ("s3://bucket/", InputError::Key),
            ("s3:///key", InputError::Bucket),
        ] {
            assert_eq!(InputFile::from_url(url), Err(expected), "{url}");
        }
    }
}
