//! ONNX's own test models: single operators and real topologies, out of a pinned package.

use infermark::artifact::{Cache, Package};
use infermark::graph::Model;

use super::sandbox::cache;

#[test]
fn every_test_model_is_read_and_saved_unchanged() {
    let package: Package = "onnx==1.17.0".parse().unwrap();
    let cache = Cache::at(cache().join("infermark"));
    let is_model = |path: &str| {
        let ends = std::path::Path::new(path).extension().is_some_and(|e| e == "onnx");
        ends && path.starts_with("onnx/backend/test/data/")
    };
    let models = package.members(&cache, is_model).unwrap();
    let of = |part: &str| models.iter().filter(|m| m.path.contains(part)).count();
    assert_eq!((of("/data/node/"), of("/data/light/")), (1288, 9));
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.onnx");
    for member in &models {
        let model = Model::parse(&member.path, member.bytes.clone().into());
        model.unwrap_or_else(|e| panic!("{e}")).write(&saved).unwrap();
        let first = std::fs::read(&saved).unwrap();
        // Python writes zeros and empty texts that are no more than the default; saved once, a
        // model has one form. (docs/measurements/graph.md compares with Python's own reading.)
        Model::parse(&member.path, first.clone().into()).unwrap().write(&saved).unwrap();
        assert!(std::fs::read(&saved).unwrap() == first, "{}", member.path);
    }
}
