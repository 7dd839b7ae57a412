/**
 * Preloaded into jest and its workers by `npm test`. jest loads every module anew for each test file, so that files share
 * no state, and a worker would compile the same service a few dozen times. Here it keeps V8's compiled code from the
 * first time. Each file still gets modules of its own, made from that code.
 */
import vm from 'node:vm';

interface Compiled {
  source: string;
  code: Buffer;
}

const functions = new Map<string, Compiled>();
const modules = new Map<string, Compiled>();
const { compileFunction, SourceTextModule } = vm;

/** What jest calls for a CommonJS module. */
vm.compileFunction = (source, parameters, options = {}) => {
  const { filename } = options;
  if (filename === undefined) return compileFunction(source, parameters, options);
  const known = functions.get(filename);
  if (known?.source === source) {
    return compileFunction(source, parameters, { ...options, cachedData: known.code });
  }
  const compiled = compileFunction(source, parameters, { ...options, produceCachedData: true });
  if (compiled.cachedData !== undefined) functions.set(filename, { source, code: compiled.cachedData });
  return compiled;
};

/** What jest makes for an ES module. */
vm.SourceTextModule = class extends SourceTextModule {
  constructor(source: string, options: vm.SourceTextModuleOptions = {}) {
    const { identifier } = options;
    const known = identifier === undefined ? undefined : modules.get(identifier);
    if (known?.source === source) {
      super(source, { ...options, cachedData: known.code });
    } else {
      super(source, options);
      if (identifier !== undefined) modules.set(identifier, { source, code: this.createCachedData() });
    }
  }

  /** Node has it, but its types do not. */
  declare createCachedData: () => Buffer;
};
