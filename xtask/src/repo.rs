//! Where things are in the repository.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The checkout that this binary was built from.
pub struct Repo {
    root: PathBuf,
}

impl Repo {
    /// # Errors
    /// When the checkout has been moved away since this binary was built.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?;
        let root = root.canonicalize().with_context(|| format!("{} is gone", root.display()))?;
        Ok(Self { root })
    }

    /// The directory of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `relative` to the root.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The pinned tools that are built from source.
    pub fn tools_dir(&self) -> PathBuf {
        self.path("target/tools")
    }
}

/// SHA-256 in hex over the parts, each with its length, so that moving a byte from one to the next is a change.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// A file that says what a directory was made from, written when it is complete.
pub struct Stamp {
    path: PathBuf,
    value: String,
}

impl Stamp {
    /// `path`: the stamp's file; `value`: the fingerprint of everything that the result depends on.
    pub fn new(path: PathBuf, value: String) -> Self {
        Self { path, value }
    }

    /// Whether the result was made from just this.
    pub fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|found| found == self.value)
    }

    /// To be called before the work: a run that is cut short leaves no stamp.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// To be called when the work is done.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.value).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// [`fs::read`] with the path in the error.
///
/// # Errors
/// As [`fs::read`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn fingerprints_differ_when_a_byte_moves_between_parts() {
        assert_eq!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"ab", b"c"]));
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_ne!(fingerprint(&[b"ab"]), fingerprint(&[b"ab", b""]));
    }
}
