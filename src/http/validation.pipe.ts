import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { getMetadataStorage, validateSync, type ValidationError } from 'class-validator';
import { type FieldError, RefusedError } from '../domain/errors.js';

type DtoClass = new () => object;

/** The types that Nest reports for a parameter that has no DTO class. */
const NOT_DTOS: ReadonlySet<unknown> = new Set([Object, Array, String, Number, Boolean, Buffer]);

/** A body of 64 KiB can hold thousands of unknown fields, so the answer names only the first few. */
const MAX_ERRORS = 20;
/** A field's name comes from the client, and the answer repeats it. */
const MAX_FIELD_NAME_LENGTH = 64;

/** At most 15 digits, so that the number is exact. Anything else stays a string, which the field's rule refuses. */
const QUERY_INTEGER = /^-?\d{1,15}$/;

/**
 * Validates `@Body()` and `@Query()` parameters whose type is a DTO class, and passes on every other parameter.
 *
 * It copies the fields one by one onto a new instance. Nest's own pipe uses class-transformer, which walks the whole
 * value before it checks anything. That is several times slower, and a few thousand levels of nesting, which fit into
 * any body limit, overflow its stack. So our DTOs are flat, and a field's own rule checks a nested value.
 */
@Injectable()
export class ValidationPipe implements PipeTransform {
  private readonly shapes = new Map<DtoClass, DtoShape>();

  transform(value: unknown, { type, metatype, data }: ArgumentMetadata): unknown {
    if ((type !== 'body' && type !== 'query') || data !== undefined) return value;
    if (metatype === undefined || NOT_DTOS.has(metatype)) return value;
    const shape = this.shapeOf(metatype as DtoClass);
    // A missing body counts as an empty object. If every field is optional, both are valid.
    const fields = value === undefined ? {} : value;
    if (!isObject(fields)) {
      throw new RefusedError({ code: 'malformed_body', reason: 'The body must be a JSON object.' });
    }
    const dto = new shape.dtoClass() as Record<string, unknown>;
    const errors = type === 'body' ? copyBody(fields, shape, dto) : copyQuery(fields, shape, dto);
    const reported = new Set(errors.map(({ field }) => field));
    for (const error of validateSync(dto, { forbidUnknownValues: false, stopAtFirstError: true })) {
      if (!reported.has(error.property)) errors.push(fieldError(error, fields));
    }
    if (errors.length > 0)
      throw new RefusedError({ code: 'validation_failed', errors: errors.slice(0, MAX_ERRORS) });
    return dto;
  }

  private shapeOf(dtoClass: DtoClass): DtoShape {
    let shape = this.shapes.get(dtoClass);
    if (shape === undefined) {
      shape = readShape(dtoClass);
      this.shapes.set(dtoClass, shape);
    }
    return shape;
  }
}

interface DtoShape {
  dtoClass: DtoClass;
  /** Each declared field with the type that the compiler recorded. */
  fields: ReadonlyMap<string, unknown>;
}

/** Any class-validator decorator declares a field, `@IsOptional()` and `@Allow()` included. */
function readShape(dtoClass: DtoClass): DtoShape {
  const rules = getMetadataStorage().getTargetValidationMetadatas(dtoClass, '', false, false);
  const fields = new Map<string, unknown>();
  for (const { propertyName } of rules) {
    fields.set(propertyName, Reflect.getMetadata('design:type', dtoClass.prototype as object, propertyName));
  }
  return { dtoClass, fields };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Assigns only declared fields, so that a client's `constructor` or `__proto__` cannot hide the class. */
function copyBody(
  body: Record<string, unknown>,
  shape: DtoShape,
  dto: Record<string, unknown>,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of Object.keys(body)) {
    if (shape.fields.has(name)) dto[name] = body[name];
    else if (errors.length < MAX_ERRORS) errors.push({ field: shown(name), message: 'is not a known field' });
  }
  return errors;
}

function copyQuery(
  query: Record<string, unknown>,
  shape: DtoShape,
  dto: Record<string, unknown>,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (errors.length >= MAX_ERRORS) break;
    if (!shape.fields.has(name)) errors.push({ field: shown(name), message: 'is not a known parameter' });
    else if (Array.isArray(value)) errors.push({ field: name, message: 'must be given once' });
    else dto[name] = queryValue(value, shape.fields.get(name));
  }
  return errors;
}

/** A query holds only strings. If the field is a number or a boolean and the text is one too, convert it. */
function queryValue(value: unknown, fieldType: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (fieldType === Number && QUERY_INTEGER.test(value)) return Number(value);
  if (fieldType === Boolean && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

function shown(name: string): string {
  return name.length > MAX_FIELD_NAME_LENGTH
    ? `${name.slice(0, MAX_FIELD_NAME_LENGTH).toWellFormed()}…`
    : name;
}

/** class-validator's own messages begin with the field's name. We report the name separately, so cut it off. */
function fieldError({ property, constraints }: ValidationError, value: Record<string, unknown>): FieldError {
  if (value[property] === undefined) return { field: property, message: 'is required' };
  const message = Object.values(constraints ?? {})[0] ?? 'is not valid';
  return {
    field: property,
    message: message.startsWith(`${property} `) ? message.slice(property.length + 1) : message,
  };
}
