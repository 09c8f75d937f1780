//! The engine's columns over the store's mapped image.

use dynemix_engine::accounts::columns::{Columns, ColumnsMut, Hot, StateMemory};
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::base::ids::Key;
use dynemix_storage::{Image, PendingSync, RegionSpec, StoreError};

/// An image whose regions are a state's columns.
pub struct MappedMemory {
    image: Image,
}

/// The regions of a state of this layout.
pub fn regions(layout: StateLayout) -> Vec<RegionSpec> {
    layout.columns().into_iter().map(|(name, bytes)| RegionSpec { name, bytes }).collect()
}

impl MappedMemory {
    /// Takes an image that was laid out with [`regions`].
    pub fn new(image: Image) -> MappedMemory {
        MappedMemory { image }
    }

    /// Begins to make durable what was written through.
    pub fn begin_sync(&self) -> PendingSync {
        self.image.begin_sync()
    }

    /// Gives the balances pages of their own at once: blocks change them everywhere, all the time.
    pub fn make_balances_resident(&mut self) {
        self.image.make_resident(1);
    }

    /// The image, taken back.
    pub fn into_image(self) -> Image {
        self.image
    }

    /// The image, for whoever gives back its memory.
    pub fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// Sets keys and balances from account `first` on in the file below as well, where they outlive an interruption.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_through(&mut self, first: usize, keys: &[Key], hot: &[Hot]) -> Result<(), StoreError> {
        self.image.write_through(2, first * size_of::<Key>(), bytemuck::cast_slice(keys))?;
        self.image.write_through(1, first * size_of::<Hot>(), bytemuck::cast_slice(hot))
    }

    /// The image, to write a checkpoint of it.
    pub fn image(&self) -> &Image {
        &self.image
    }
}

impl StateMemory for MappedMemory {
    // Regions start at page boundaries and have the layout's lengths, so the casts cannot fail.
    fn columns(&self) -> Columns<'_> {
        Columns {
            header: bytemuck::from_bytes(self.image.region(0)),
            hot: bytemuck::cast_slice(self.image.region(1)),
            key: bytemuck::cast_slice(self.image.region(2)),
            index: bytemuck::cast_slice(self.image.region(3)),
            tree: bytemuck::cast_slice(self.image.region(4)),
        }
    }

    fn columns_mut(&mut self) -> ColumnsMut<'_> {
        let [header, hot, key, index, tree] = self.image.regions_mut::<5>();
        ColumnsMut {
            header: bytemuck::from_bytes_mut(header),
            hot: bytemuck::cast_slice_mut(hot),
            key: bytemuck::cast_slice_mut(key),
            index: bytemuck::cast_slice_mut(index),
            tree: bytemuck::cast_slice_mut(tree),
        }
    }
}
