"""The fixed list of names that a pickled scikit-learn model needs and that do nothing but make values.

A name is known when its module and itself are listed here, character by character. Nothing is listed because a file
holds it, and no function that looks up, imports, opens, calls or evaluates is listed. To be on the list is no praise:
it means that `wherry` loads the name without asking.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # where the standard library's own unpickler looks

# Public estimators, by package; each is known in the package itself and in its private modules (sklearn.svm._classes).
ESTIMATORS: dict[str, str] = {
    "sklearn.calibration": "CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration _TemperatureScaling",
    "sklearn.cluster": """AffinityPropagation AgglomerativeClustering Birch BisectingKMeans DBSCAN FeatureAgglomeration
        HDBSCAN KMeans MeanShift MiniBatchKMeans OPTICS SpectralBiclustering SpectralClustering SpectralCoclustering
        _CFNode _CFSubcluster _BisectingTree""",
    "sklearn.compose": "ColumnTransformer TransformedTargetRegressor _RemainderColsList make_column_selector",
    "sklearn.covariance": """EllipticEnvelope EmpiricalCovariance GraphicalLasso GraphicalLassoCV LedoitWolf MinCovDet
        OAS ShrunkCovariance""",
    "sklearn.cross_decomposition": "CCA PLSCanonical PLSRegression PLSSVD",
    "sklearn.decomposition": """DictionaryLearning FactorAnalysis FastICA IncrementalPCA KernelPCA
        LatentDirichletAllocation MiniBatchDictionaryLearning MiniBatchNMF MiniBatchSparsePCA NMF PCA SparseCoder
        SparsePCA TruncatedSVD""",
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble": """AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor ExtraTreesClassifier
        ExtraTreesRegressor GradientBoostingClassifier GradientBoostingRegressor HistGradientBoostingClassifier
        HistGradientBoostingRegressor IsolationForest RandomForestClassifier RandomForestRegressor RandomTreesEmbedding
        StackingClassifier StackingRegressor VotingClassifier VotingRegressor""",
    "sklearn.feature_extraction": """CountVectorizer DictVectorizer FeatureHasher HashingVectorizer PatchExtractor
        TfidfTransformer TfidfVectorizer""",
    "sklearn.feature_extraction.image": "PatchExtractor",
    "sklearn.feature_extraction.text": "CountVectorizer HashingVectorizer TfidfTransformer TfidfVectorizer",
    "sklearn.feature_selection": """GenericUnivariateSelect RFE RFECV SelectFdr SelectFpr SelectFromModel SelectFwe
        SelectKBest SelectPercentile SequentialFeatureSelector VarianceThreshold f_classif f_regression chi2""",
    "sklearn.frozen": "FrozenEstimator",
    "sklearn.gaussian_process": """GaussianProcessClassifier GaussianProcessRegressor
        _BinaryGaussianProcessClassifierLaplace""",
    "sklearn.gaussian_process.kernels": """CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation
        Hyperparameter Matern PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel""",
    "sklearn.impute": "IterativeImputer KNNImputer MissingIndicator SimpleImputer _ImputerTriplet",
    "sklearn.isotonic": "IsotonicRegression",
    "sklearn.kernel_approximation": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler",
    "sklearn.kernel_ridge": "KernelRidge",
    "sklearn.linear_model": """ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars
        LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression LogisticRegression LogisticRegressionCV
        MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV OrthogonalMatchingPursuit
        OrthogonalMatchingPursuitCV PassiveAggressiveClassifier PassiveAggressiveRegressor Perceptron PoissonRegressor
        QuantileRegressor RANSACRegressor Ridge RidgeCV RidgeClassifier RidgeClassifierCV SGDClassifier SGDOneClassSVM
        SGDRegressor TheilSenRegressor TweedieRegressor Hinge SquaredHinge Log ModifiedHuber Huber SquaredLoss
        EpsilonInsensitive SquaredEpsilonInsensitive""",
    "sklearn.manifold": "ClassicalMDS Isomap LocallyLinearEmbedding MDS SpectralEmbedding TSNE",
    "sklearn.mixture": "BayesianGaussianMixture GaussianMixture",
    "sklearn.model_selection": """FixedThresholdClassifier GridSearchCV HalvingGridSearchCV HalvingRandomSearchCV
        RandomizedSearchCV TunedThresholdClassifierCV KFold StratifiedKFold GroupKFold ShuffleSplit
        StratifiedShuffleSplit RepeatedKFold RepeatedStratifiedKFold TimeSeriesSplit LeaveOneOut PredefinedSplit""",
    "sklearn.multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier _ConstantPredictor",
    "sklearn.multioutput": "ClassifierChain MultiOutputClassifier MultiOutputRegressor RegressorChain",
    "sklearn.naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neighbors": """KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer KernelDensity
        LocalOutlierFactor NearestCentroid NearestNeighbors NeighborhoodComponentsAnalysis RadiusNeighborsClassifier
        RadiusNeighborsRegressor RadiusNeighborsTransformer KDTree KDTree64 BallTree BallTree64 newObj""",
    "sklearn.neural_network": "BernoulliRBM MLPClassifier MLPRegressor AdamOptimizer SGDOptimizer",
    "sklearn.pipeline": "FeatureUnion Pipeline",
    "sklearn.preprocessing": """Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer LabelBinarizer
        LabelEncoder MaxAbsScaler MinMaxScaler MultiLabelBinarizer Normalizer OneHotEncoder OrdinalEncoder
        PolynomialFeatures PowerTransformer QuantileTransformer RobustScaler SplineTransformer StandardScaler
        TargetEncoder""",
    "sklearn.random_projection": "GaussianRandomProjection SparseRandomProjection",
    "sklearn.semi_supervised": "LabelPropagation LabelSpreading SelfTrainingClassifier",
    "sklearn.svm": "LinearSVC LinearSVR NuSVC NuSVR OneClassSVM SVC SVR",
    "sklearn.tree": "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor Tree",
}

NUMPY_TYPES = """bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc uintc longlong ulonglong float16
    float32 float64 longdouble complex64 complex128 str_ bytes_ object_ datetime64 timedelta64 int_ float_ ndarray
    dtype matrix"""
NUMPY_FUNCTIONS = """abs absolute add arcsinh cbrt ceil clip cos divide exp exp2 expm1 floor log log10 log1p log2 max
    maximum mean median min minimum multiply negative reciprocal rint round sign sin sinh sqrt square subtract sum tan
    tanh"""
METRICS = """accuracy_score balanced_accuracy_score f1_score precision_score recall_score jaccard_score
    matthews_corrcoef log_loss brier_score_loss roc_auc_score average_precision_score r2_score mean_absolute_error
    mean_squared_error root_mean_squared_error median_absolute_error max_error explained_variance_score
    mean_squared_log_error mean_absolute_percentage_error d2_tweedie_score d2_absolute_error_score"""
LOSSES = """AbsoluteError BaseLoss CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss
    CyHalfMultinomialLoss CyHalfPoissonLoss CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss
    CyPinballLoss ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss HalfSquaredError
    HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss"""
DISTANCES = """BrayCurtis Canberra Chebyshev DiceDistance Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan
    Minkowski RogersTanimoto RussellRao SEuclidean SokalSneath"""

# Everything else, by exact module.
NAMES: dict[str, str] = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "OrderedDict defaultdict",
    "copyreg": "_reconstructor",
    "_codecs": "encode",  # only with latin-1: see `pickles`
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "numpy": f"{NUMPY_TYPES} {NUMPY_FUNCTIONS}",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random": "RandomState",
    "numpy.random._generator": "Generator",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random.mtrand": "RandomState",
    "pandas": "CategoricalDtype DataFrame Index RangeIndex Series",
    "pandas._libs.internals": "_unpickle_block",
    "pandas.core.dtypes.dtypes": "CategoricalDtype",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas.core.series": "Series",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "sklearn._loss._loss": LOSSES + " " + " ".join(f"__pyx_unpickle_{name}" for name in LOSSES.split()),
    "sklearn._loss.loss": LOSSES,
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.metrics._dist_metrics": "newObj",
    "sklearn.metrics._scorer": "_CurveScorer _PassthroughScorer _Scorer _MultimetricScorer",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
    "sklearn.utils": "Bunch",
    "xgboost.core": "Booster",
    "xgboost.sklearn": "XGBClassifier XGBModel XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor",
    "lightgbm.basic": "Booster",
    "lightgbm.sklearn": "LGBMClassifier LGBMModel LGBMRanker LGBMRegressor",
}
SCORING = ("sklearn.metrics._classification", "sklearn.metrics._ranking", "sklearn.metrics._regression")
for _module in SCORING:
    NAMES[_module] = METRICS
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    NAMES[_module] = "_reconstruct scalar"
for _module in ("numpy.core.numeric", "numpy._core.numeric"):
    NAMES[_module] = "_frombuffer"
for _form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
    NAMES[f"scipy.sparse._{_form}"] = f"{_form}_matrix {_form}_array"
    NAMES[f"scipy.sparse.{_form}"] = f"{_form}_matrix"

EXACT: frozenset[tuple[str, str]] = frozenset(
    [(module, name) for module, names in NAMES.items() for name in names.split()]
    + [("sklearn.metrics._dist_metrics", f"{d}Distance{bits}") for d in DISTANCES.split() for bits in ("", "32", "64")]
    + [("sklearn.metrics._dist_metrics", f"{d}{bits}") for d in DISTANCES.split() for bits in ("", "32", "64")]
)
BY_PACKAGE: dict[str, frozenset[str]] = {package: frozenset(names.split()) for package, names in ESTIMATORS.items()}

# Known as values that an estimator holds; nothing honest calls them while it loads.
NEVER_CALLED: frozenset[tuple[str, str]] = frozenset({("numpy", "ndarray"), ("numpy", "matrix")}) | frozenset(
    [("numpy", name) for name in NUMPY_FUNCTIONS.split()]
    + [
        (f"sklearn.metrics.{part}", name)
        for part in ("_classification", "_ranking", "_regression")
        for name in METRICS.split()
    ]
)


def is_known(module: str, name: str) -> bool:
    """Whether the list names this class or function."""
    return (module, name) in EXACT or is_estimator(module, name)


def is_estimator(module: str, name: str) -> bool:
    """Whether the list names this as an estimator of scikit-learn, or as a part of one."""
    package, dot, inner = module, "", ""
    while package.startswith("sklearn."):
        if name in BY_PACKAGE.get(package, ()) and (not dot or inner.startswith("_")):
            return True
        package, dot, inner = package.rpartition(".")
    return False


def mapped(module: str, name: str) -> tuple[str, str]:
    """The name that protocols 0 to 2 mean: Python 2's in Python 3."""
    found: tuple[str, str] = NAME_MAPPING.get((module, name)) or (IMPORT_MAPPING.get(module, module), name)
    return found
