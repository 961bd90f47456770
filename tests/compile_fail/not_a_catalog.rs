// A type that does not implement `Catalog`, used as a catalog.
//
// expect: `MyCatalog` is not a catalog
// expect: implement `Catalog` for `MyCatalog`: every method has a default

use rekindle::prelude::*;

#[derive(Debug)]
pub struct MyCatalog;

pub fn spec() -> RLModuleSpec {
    RLModuleSpec::default().catalog(MyCatalog)
}
