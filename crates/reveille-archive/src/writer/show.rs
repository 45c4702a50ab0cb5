//! What is added to the archive port.

use reveille_backend::Watermark;

use super::undo::Group;
use super::{ShownBatch, Writer};
use crate::error::StoreError;
use crate::store::shown::{self, Place};

impl Writer {
    /// Adds a batch, unless it begins elsewhere than at the end of its order.
    pub(super) fn show(
        &mut self,
        batch: &ShownBatch,
        group: &mut Group,
    ) -> Result<Result<u64, Option<Watermark>>, StoreError> {
        let tenant = self.tenant(&batch.tenant, group)?;
        let (mut position, watermark) = shown::end(&self.db, tenant)?;
        if watermark.is_some_and(|mark| mark.epoch == batch.epoch && mark.seq != batch.after) {
            return Ok(Err(watermark));
        }
        for place in &batch.places {
            let place = Place {
                tenant,
                position,
                epoch: batch.epoch,
                through: place.through,
                kind: place.kind,
                body: &place.body,
            };
            shown::insert(&self.db, &place)?;
            position += 1;
        }
        Ok(Ok(position))
    }
}
