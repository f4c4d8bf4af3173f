//! `cron.metrics`: read with the caller's rights, which decide whether it may be read at all.

use core::ffi::c_long;

use pg_tock_core::metrics::{Exposition, Kind};
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::text::ServerText;

// Samples of a family stand together, and in it those of one job. Samples that are not wanted are left
// out by their names, which are known before anything is computed.
const SAMPLES: &str = "SELECT m.name, \
      pg_catalog.convert_to(m.labels::pg_catalog.text, pg_catalog.getdatabaseencoding()), \
      m.value, m.help, m.type FROM cron.metrics m \
     WHERE $1 OR NOT m.name OPERATOR(pg_catalog.^@) 'pg_tock_job_' \
     ORDER BY CASE WHEN m.type OPERATOR(pg_catalog.=) 'summary' THEN pg_catalog.regexp_replace(m.name, '_(sum|count)$', '') \
       ELSE m.name END COLLATE \"C\", (m.labels OPERATOR(pg_catalog.->>) 'jobid')::pg_catalog.int8, \
      m.name COLLATE \"C\", m.labels";

const MAY_READ: &str = "SELECT pg_catalog.has_table_privilege('cron.metrics', 'SELECT')";

/// Rows that are fetched at once.
const BATCH: c_long = 1_000;

/// Whether the caller may read the view.
pub(crate) fn may_read() -> Result<bool, Error> {
    Ok(Spi::get_one::<bool>(MAY_READ)?.unwrap_or(false))
}

/// All samples as text, or those of no single job.
pub(crate) fn text(per_job: bool) -> Result<String, Error> {
    let mut text = Exposition::default();
    Spi::connect(|client| {
        let mut cursor = client.open_cursor(SAMPLES, &[per_job.into()]);
        loop {
            let rows = cursor.fetch(BATCH)?;
            if rows.is_empty() {
                return Ok(text.finish());
            }
            for row in rows {
                let word = |column: usize| row.get::<String>(column).map(Option::unwrap_or_default);
                let labels = row.get::<Vec<u8>>(2)?.unwrap_or_default();
                let labels: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(&ServerText::new(&labels).utf8())?;
                let labels =
                    labels.iter().map(|(name, text)| (name.as_str(), text.as_str().unwrap_or("")));
                let kind = Kind::parse(&word(5)?).unwrap_or(Kind::Gauge);
                text.push(&word(1)?, kind, &word(4)?, labels, row.get(3)?.unwrap_or(f64::NAN));
            }
        }
    })
}
