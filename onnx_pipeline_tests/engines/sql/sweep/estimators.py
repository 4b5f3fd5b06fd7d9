"""scikit-learn's estimators as skl2onnx exports them.

The table that the tests of compiled estimators and the page docs/compiled-models.md are made from.
"""

from collections.abc import Mapping
from typing import Any

from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    gaussian_process,
    impute,
    kernel_approximation,
    linear_model,
    mixture,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    svm,
    tree,
)

from onnx_pipeline_tests.engines.sql.sweep import kept
from onnx_pipeline_tests.engines.sql.sweep.cases import SIZES, Case

__all__ = ["CASES", "TABLE"]


def _mixed(model: Any, **changes: Any) -> Any:
    numeric = pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler())
    parts = {
        "numbers": (numeric, ["n0", "n1", "n2", "n3"]),
        "town": (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["town"]),
        "size": (preprocessing.OrdinalEncoder(categories=[SIZES]), ["size"]),
        "count": ("passthrough", ["count"]),
        **changes,
    }
    return pipeline.make_pipeline(compose.ColumnTransformer([(name, *part) for name, part in parts.items()]), model)


_LR = linear_model.LogisticRegression

TABLE: list[Case] = [
    # Linear models
    Case("LogisticRegression", "Linear models", _LR, quick=True),
    Case("LogisticRegression, two classes", "Linear models", _LR, target="binary", quick=True),
    Case("LogisticRegression, labels of text", "Linear models", _LR, target="text", quick=True),
    Case("LogisticRegressionCV", "Linear models", lambda: linear_model.LogisticRegressionCV(Cs=2, cv=2)),
    Case("RidgeClassifier", "Linear models", linear_model.RidgeClassifier),
    Case("RidgeClassifierCV", "Linear models", linear_model.RidgeClassifierCV),
    Case(
        "SGDClassifier, log_loss", "Linear models", lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0)
    ),
    Case("SGDClassifier, hinge", "Linear models", lambda: linear_model.SGDClassifier(random_state=0)),
    Case(
        "SGDClassifier, modified_huber",
        "Linear models",
        lambda: linear_model.SGDClassifier(loss="modified_huber", random_state=0),
    ),
    Case("Perceptron", "Linear models", lambda: linear_model.Perceptron(random_state=0)),
    Case(
        "PassiveAggressiveClassifier", "Linear models", lambda: linear_model.PassiveAggressiveClassifier(random_state=0)
    ),
    *[
        Case(name, "Linear models", getattr(linear_model, name), target="number", quick=name == "LinearRegression")
        for name in (
            "LinearRegression",
            "Ridge",
            "RidgeCV",
            "Lasso",
            "LassoCV",
            "ElasticNet",
            "ElasticNetCV",
            "Lars",
            "LarsCV",
            "LassoLars",
            "LassoLarsCV",
            "LassoLarsIC",
            "BayesianRidge",
            "ARDRegression",
            "HuberRegressor",
            "OrthogonalMatchingPursuit",
            "OrthogonalMatchingPursuitCV",
            "TheilSenRegressor",
            "SGDRegressor",
            "PassiveAggressiveRegressor",
            "QuantileRegressor",
            "RANSACRegressor",
        )
    ],
    *[
        Case(name, "Linear models", getattr(linear_model, name), target="positive")
        for name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
    ],
    Case("LinearRegression, several targets", "Linear models", linear_model.LinearRegression, target="several"),
    Case("MultiTaskLasso", "Linear models", linear_model.MultiTaskLasso, target="several"),
    Case("MultiTaskElasticNet", "Linear models", linear_model.MultiTaskElasticNet, target="several"),
    Case("PLSRegression", "Linear models", cross_decomposition.PLSRegression, target="number"),
    # Trees
    Case("DecisionTreeClassifier", "Trees", lambda: tree.DecisionTreeClassifier(max_depth=5), quick=True),
    Case(
        "DecisionTreeClassifier, labels of text",
        "Trees",
        lambda: tree.DecisionTreeClassifier(max_depth=5),
        target="text",
    ),
    Case("DecisionTreeRegressor", "Trees", lambda: tree.DecisionTreeRegressor(max_depth=5), target="number"),
    Case(
        "DecisionTreeRegressor, several targets",
        "Trees",
        lambda: tree.DecisionTreeRegressor(max_depth=5),
        target="several",
    ),
    Case(
        "DecisionTreeClassifier, several labels",
        "Trees",
        lambda: tree.DecisionTreeClassifier(max_depth=4),
        target="labels",
    ),
    Case("ExtraTreeClassifier", "Trees", lambda: tree.ExtraTreeClassifier(max_depth=5, random_state=0)),
    Case("ExtraTreeRegressor", "Trees", lambda: tree.ExtraTreeRegressor(max_depth=5, random_state=0), target="number"),
    Case(
        "RandomForestClassifier",
        "Trees",
        lambda: ensemble.RandomForestClassifier(8, max_depth=5, random_state=0),
        quick=True,
    ),
    Case(
        "RandomForestRegressor",
        "Trees",
        lambda: ensemble.RandomForestRegressor(8, max_depth=5, random_state=0),
        target="number",
    ),
    Case("ExtraTreesClassifier", "Trees", lambda: ensemble.ExtraTreesClassifier(8, max_depth=5, random_state=0)),
    Case(
        "ExtraTreesRegressor",
        "Trees",
        lambda: ensemble.ExtraTreesRegressor(8, max_depth=5, random_state=0),
        target="number",
    ),
    Case(
        "GradientBoostingClassifier", "Trees", lambda: ensemble.GradientBoostingClassifier(n_estimators=8), quick=True
    ),
    Case(
        "GradientBoostingClassifier, two classes",
        "Trees",
        lambda: ensemble.GradientBoostingClassifier(n_estimators=8),
        target="binary",
    ),
    Case(
        "GradientBoostingRegressor",
        "Trees",
        lambda: ensemble.GradientBoostingRegressor(n_estimators=8),
        target="number",
    ),
    Case(
        "HistGradientBoostingClassifier",
        "Trees",
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=8),
        data="gaps",
        takes_nan=True,
        quick=True,
    ),
    Case(
        "HistGradientBoostingClassifier, two classes",
        "Trees",
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=8),
        data="gaps",
        takes_nan=True,
        target="binary",
    ),
    Case(
        "HistGradientBoostingRegressor",
        "Trees",
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=8),
        data="gaps",
        takes_nan=True,
        target="number",
    ),
    Case("IsolationForest", "Trees", lambda: ensemble.IsolationForest(n_estimators=8, random_state=0), target="none"),
    # Ensembles of models
    Case("AdaBoostClassifier", "Ensembles", lambda: ensemble.AdaBoostClassifier(n_estimators=5, random_state=0)),
    Case(
        "AdaBoostRegressor",
        "Ensembles",
        lambda: ensemble.AdaBoostRegressor(n_estimators=5, random_state=0),
        target="number",
    ),
    Case("BaggingClassifier", "Ensembles", lambda: ensemble.BaggingClassifier(_LR(), 3, random_state=0)),
    Case(
        "BaggingRegressor",
        "Ensembles",
        lambda: ensemble.BaggingRegressor(n_estimators=3, random_state=0),
        target="number",
    ),
    Case(
        "VotingClassifier, soft",
        "Ensembles",
        lambda: ensemble.VotingClassifier(
            [("a", _LR()), ("b", tree.DecisionTreeClassifier(max_depth=3))], voting="soft", flatten_transform=False
        ),
    ),
    Case(
        "VotingClassifier, hard",
        "Ensembles",
        lambda: ensemble.VotingClassifier(
            [("a", _LR()), ("b", tree.DecisionTreeClassifier(max_depth=3))], flatten_transform=False
        ),
    ),
    Case(
        "VotingRegressor",
        "Ensembles",
        lambda: ensemble.VotingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]),
        target="number",
    ),
    Case(
        "StackingClassifier",
        "Ensembles",
        lambda: ensemble.StackingClassifier([("a", _LR()), ("b", tree.DecisionTreeClassifier(max_depth=3))], cv=2),
    ),
    Case(
        "StackingRegressor",
        "Ensembles",
        lambda: ensemble.StackingRegressor(
            [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))], cv=2
        ),
        target="number",
    ),
    Case("CalibratedClassifierCV, sigmoid", "Ensembles", lambda: calibration.CalibratedClassifierCV(_LR(), cv=2)),
    Case(
        "CalibratedClassifierCV, isotonic",
        "Ensembles",
        lambda: calibration.CalibratedClassifierCV(_LR(), cv=2, method="isotonic"),
    ),
    Case("OneVsRestClassifier", "Ensembles", lambda: multiclass.OneVsRestClassifier(_LR())),
    Case(
        "OneVsRestClassifier, several labels",
        "Ensembles",
        lambda: multiclass.OneVsRestClassifier(_LR()),
        target="labels",
    ),
    Case("OneVsOneClassifier", "Ensembles", lambda: multiclass.OneVsOneClassifier(_LR())),
    Case("OutputCodeClassifier", "Ensembles", lambda: multiclass.OutputCodeClassifier(_LR(), random_state=0)),
    Case(
        "MultiOutputRegressor",
        "Ensembles",
        lambda: multioutput.MultiOutputRegressor(linear_model.Ridge()),
        target="several",
    ),
    Case("MultiOutputClassifier", "Ensembles", lambda: multioutput.MultiOutputClassifier(_LR()), target="labels"),
    Case("ClassifierChain", "Ensembles", lambda: multioutput.ClassifierChain(_LR()), target="labels"),
    Case("RegressorChain", "Ensembles", lambda: multioutput.RegressorChain(linear_model.Ridge()), target="several"),
    Case(
        "TransformedTargetRegressor",
        "Ensembles",
        lambda: compose.TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
        target="number",
    ),
    # Support vector machines
    Case("LinearSVC", "Support vector machines", svm.LinearSVC),
    Case("LinearSVR", "Support vector machines", svm.LinearSVR, target="number"),
    *[
        Case(
            f"SVC, {kernel}",
            "Support vector machines",
            lambda kernel=kernel: svm.SVC(kernel=kernel, C=0.5),
            absolute=1e-4,
        )
        for kernel in ("linear", "poly", "rbf", "sigmoid")
    ],
    Case("SVC, two classes", "Support vector machines", svm.SVC, target="binary", quick=True, absolute=1e-5),
    Case("SVC, labels of text", "Support vector machines", svm.SVC, target="text", absolute=1e-5),
    Case(
        "SVC, probabilities",
        "Support vector machines",
        lambda: svm.SVC(probability=True, random_state=0),
        absolute=1e-5,
    ),
    Case(
        "SVC, probabilities of two classes",
        "Support vector machines",
        lambda: svm.SVC(probability=True, random_state=0),
        target="binary",
        absolute=1e-5,
    ),
    Case("NuSVC", "Support vector machines", svm.NuSVC, absolute=1e-4),
    Case("SVR", "Support vector machines", svm.SVR, target="number", absolute=1e-5),
    Case("NuSVR", "Support vector machines", svm.NuSVR, target="number", absolute=1e-5),
    Case("OneClassSVM", "Support vector machines", svm.OneClassSVM, target="none", absolute=1e-4),
    # Networks, Bayes, neighbours, discriminants
    Case(
        "MLPClassifier",
        "Networks",
        lambda: neural_network.MLPClassifier((8, 5), max_iter=40, random_state=0),
        quick=True,
    ),
    Case(
        "MLPClassifier, two classes",
        "Networks",
        lambda: neural_network.MLPClassifier((8,), activation="logistic", max_iter=40, random_state=0),
        target="binary",
    ),
    Case(
        "MLPClassifier, several labels",
        "Networks",
        lambda: neural_network.MLPClassifier((8,), max_iter=40, random_state=0),
        target="labels",
    ),
    Case(
        "MLPRegressor",
        "Networks",
        lambda: neural_network.MLPRegressor(hidden_layer_sizes=(8,), activation="tanh", max_iter=40, random_state=0),
        target="number",
    ),
    Case("GaussianNB", "Naive Bayes", naive_bayes.GaussianNB, quick=True),
    Case("BernoulliNB", "Naive Bayes", naive_bayes.BernoulliNB, data="bits"),
    Case("MultinomialNB", "Naive Bayes", naive_bayes.MultinomialNB, data="counts"),
    Case("ComplementNB", "Naive Bayes", naive_bayes.ComplementNB, data="counts"),
    Case("CategoricalNB", "Naive Bayes", naive_bayes.CategoricalNB, data="bits"),
    Case("NearestCentroid", "Neighbours", neighbors.NearestCentroid),
    Case("KNeighborsClassifier", "Neighbours", neighbors.KNeighborsClassifier),
    Case("KNeighborsRegressor", "Neighbours", neighbors.KNeighborsRegressor, target="number"),
    Case("RadiusNeighborsClassifier", "Neighbours", lambda: neighbors.RadiusNeighborsClassifier(9.0)),
    Case("LocalOutlierFactor", "Neighbours", lambda: neighbors.LocalOutlierFactor(novelty=True), target="none"),
    Case(
        "LinearDiscriminantAnalysis",
        "Discriminants and mixtures",
        discriminant_analysis.LinearDiscriminantAnalysis,
    ),
    Case(
        "QuadraticDiscriminantAnalysis",
        "Discriminants and mixtures",
        discriminant_analysis.QuadraticDiscriminantAnalysis,
    ),
    Case(
        "GaussianMixture",
        "Discriminants and mixtures",
        lambda: mixture.GaussianMixture(2, random_state=0),
        target="none",
    ),
    Case(
        "BayesianGaussianMixture",
        "Discriminants and mixtures",
        lambda: mixture.BayesianGaussianMixture(n_components=2, random_state=0),
        target="none",
    ),
    Case(
        "GaussianProcessRegressor",
        "Gaussian processes",
        gaussian_process.GaussianProcessRegressor,
        target="number",
    ),
    Case(
        "GaussianProcessClassifier",
        "Gaussian processes",
        gaussian_process.GaussianProcessClassifier,
        target="binary",
    ),
    Case("DummyClassifier", "Baselines", dummy.DummyClassifier),
    Case("DummyRegressor", "Baselines", dummy.DummyRegressor, target="number"),
    # Clusters and decompositions
    Case("KMeans", "Clusters", lambda: cluster.KMeans(3, n_init=1, random_state=0), target="none", quick=True),
    Case("MiniBatchKMeans", "Clusters", lambda: cluster.MiniBatchKMeans(3, n_init=1, random_state=0), target="none"),
    *[
        Case(name, "Decompositions", make, target="none")
        for name, make in {
            "PCA": lambda: decomposition.PCA(2),
            "PCA, whitened": lambda: decomposition.PCA(2, whiten=True),
            "IncrementalPCA": lambda: decomposition.IncrementalPCA(2),
            "KernelPCA": lambda: decomposition.KernelPCA(2, kernel="rbf"),
            "TruncatedSVD": lambda: decomposition.TruncatedSVD(2),
            "FastICA": lambda: decomposition.FastICA(2, random_state=0),
            "FactorAnalysis": lambda: decomposition.FactorAnalysis(2),
            "GaussianRandomProjection": lambda: random_projection.GaussianRandomProjection(2, random_state=0),
            "Nystroem": lambda: kernel_approximation.Nystroem(n_components=5, random_state=0),
        }.items()
    ],
    # Preprocessing
    *[
        Case(name, "Preprocessing", make, target="none", quick=name in ("StandardScaler", "PolynomialFeatures"))
        for name, make in {
            "StandardScaler": preprocessing.StandardScaler,
            "MinMaxScaler": preprocessing.MinMaxScaler,
            "MinMaxScaler, clipped": lambda: preprocessing.MinMaxScaler(clip=True),
            "MaxAbsScaler": preprocessing.MaxAbsScaler,
            "RobustScaler": preprocessing.RobustScaler,
            "Normalizer, l1": lambda: preprocessing.Normalizer("l1"),
            "Normalizer, l2": lambda: preprocessing.Normalizer("l2"),
            "Normalizer, max": lambda: preprocessing.Normalizer("max"),
            "Binarizer": lambda: preprocessing.Binarizer(threshold=0.2),
            "KBinsDiscretizer, ordinal": lambda: preprocessing.KBinsDiscretizer(4, encode="ordinal"),
            "KBinsDiscretizer, one-hot": lambda: preprocessing.KBinsDiscretizer(4, encode="onehot-dense"),
            "PolynomialFeatures": lambda: preprocessing.PolynomialFeatures(2),
            "PowerTransformer, yeo-johnson": preprocessing.PowerTransformer,
            "SplineTransformer": lambda: preprocessing.SplineTransformer(n_knots=4),
            "QuantileTransformer": lambda: preprocessing.QuantileTransformer(n_quantiles=10),
            "QuantileTransformer, normal": lambda: preprocessing.QuantileTransformer(
                n_quantiles=10, output_distribution="normal"
            ),
            "FeatureUnion": lambda: pipeline.make_union(preprocessing.StandardScaler(), decomposition.PCA(2)),
            "VarianceThreshold": feature_selection.VarianceThreshold,
        }.items()
    ],
    Case(
        "PowerTransformer, box-cox",
        "Preprocessing",
        lambda: preprocessing.PowerTransformer("box-cox"),
        data="unit",
        target="none",
    ),
    Case("SelectKBest", "Preprocessing", lambda: feature_selection.SelectKBest(k=2)),
    Case("SelectPercentile", "Preprocessing", lambda: feature_selection.SelectPercentile(percentile=50)),
    Case("SelectFromModel", "Preprocessing", lambda: feature_selection.SelectFromModel(_LR())),
    Case("RFE", "Preprocessing", lambda: feature_selection.RFE(_LR(), n_features_to_select=2)),
    Case(
        "SimpleImputer",
        "Preprocessing",
        impute.SimpleImputer,
        data="gaps",
        target="none",
        takes_nan=True,
        quick=True,
    ),
    Case(
        "SimpleImputer with indicators",
        "Preprocessing",
        lambda: impute.SimpleImputer(add_indicator=True),
        data="gaps",
        target="none",
        takes_nan=True,
    ),
    Case("KNNImputer", "Preprocessing", impute.KNNImputer, data="gaps", target="none", takes_nan=True),
    Case(
        "OneHotEncoder, texts",
        "Encoders",
        lambda: preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        data="texts",
        target="none",
        quick=True,
    ),
    Case(
        "OneHotEncoder, first dropped",
        "Encoders",
        lambda: preprocessing.OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
        data="texts",
        target="none",
    ),
    Case(
        "OneHotEncoder, rare ones together",
        "Encoders",
        lambda: preprocessing.OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=3, sparse_output=False
        ),
        data="texts",
        target="none",
    ),
    Case(
        "OneHotEncoder, integers",
        "Encoders",
        lambda: preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        data="integers",
        target="none",
    ),
    Case(
        "OrdinalEncoder, texts",
        "Encoders",
        lambda: preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        data="texts",
        target="none",
        quick=True,
    ),
    Case(
        "OrdinalEncoder, integers",
        "Encoders",
        lambda: preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        data="integers",
        target="none",
    ),
    Case(
        "TargetEncoder", "Encoders", lambda: preprocessing.TargetEncoder(random_state=0), data="texts", target="number"
    ),
    # Pipelines over columns of several kinds
    Case(
        "Pipeline: columns, LogisticRegression",
        "Pipelines",
        lambda: _mixed(_LR()),
        data="mixed",
        quick=True,
        takes_nan=True,
    ),
    Case(
        "Pipeline: columns, labels of text",
        "Pipelines",
        lambda: _mixed(_LR()),
        data="mixed",
        target="text",
        takes_nan=True,
    ),
    Case(
        "Pipeline: columns, RandomForestClassifier",
        "Pipelines",
        lambda: _mixed(ensemble.RandomForestClassifier(5, max_depth=4, random_state=0)),
        data="mixed",
        takes_nan=True,
    ),
    Case(
        "Pipeline: columns, HistGradientBoostingRegressor",
        "Pipelines",
        lambda: _mixed(ensemble.HistGradientBoostingRegressor(max_iter=5)),
        data="mixed",
        target="number",
        takes_nan=True,
    ),
    Case(
        "Pipeline: columns, MLPRegressor",
        "Pipelines",
        lambda: _mixed(neural_network.MLPRegressor(hidden_layer_sizes=(6,), max_iter=20, random_state=0)),
        data="mixed",
        target="number",
        takes_nan=True,
    ),
    Case(
        "Pipeline: columns, KMeans",
        "Pipelines",
        lambda: _mixed(cluster.KMeans(3, n_init=1, random_state=0)),
        data="mixed",
        target="none",
        takes_nan=True,
    ),
    Case(
        "Pipeline: scaler, PCA, LogisticRegression",
        "Pipelines",
        lambda: pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3), _LR()),
    ),
    Case(
        "Pipeline: SelectKBest, GradientBoostingRegressor",
        "Pipelines",
        lambda: pipeline.make_pipeline(
            feature_selection.SelectKBest(feature_selection.f_regression, k=2),
            ensemble.GradientBoostingRegressor(n_estimators=5),
        ),
        target="number",
    ),
]

CASES: Mapping[str, Case] = {case.name: case for case in [*TABLE, *kept.TABLE]}
