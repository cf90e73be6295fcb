//! Writes the generated files of the repository: `crds/*.yaml` and `docs/keys.md`.

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the crate lies below the repository's top")?;
    for file in synapse_api::generated::files()? {
        let path = top.join(file.path);
        std::fs::write(&path, file.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
