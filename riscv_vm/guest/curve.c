/* Checks the arithmetic under bip340.c against results that the caller computed; halts with 0 if
 * all agree, else exits with the number of the first that does not.
 * Input, numbers of 32 bytes, big-endian, either
 *   a | b | a + b | a - b | a / 2 | a b | a^2 | 1 / a     modulo p, a and b any 256 bits, or
 *   a | b | x | x of a G + b P | its y                    P = the point with x and even y; a result
 *                                                         of (0, 0) stands for infinity. */
#include "point.h"

enum { NUMBER = 32, FIELD_NUMBERS = 8, POINT_NUMBERS = 5 };

static Field number(int index) {
    Field value;
    field_load(&value, input + NUMBER * index);
    return value;
}

static int check_field(void) {
    Field a = number(0), b = number(1), expected, result[FIELD_NUMBERS];
    field_add(&result[2], &a, &b);
    field_sub(&result[3], &a, &b);
    field_half(&result[4], &a);
    field_mul(&result[5], &a, &b);
    field_sqr(&result[6], &a);
    field_inverse(&result[7], &a);
    for (int i = 2; i < FIELD_NUMBERS; i++) {
        expected = number(i);
        if (!field_is_equal(&result[i], &expected)) {
            return i;
        }
        if (field_is_odd(&result[i]) != (int)(expected.w[0] & 1)) {
            return FIELD_NUMBERS + i;
        }
    }
    return 0;
}

static int check_point(void) {
    Scalar a, b;
    Affine p;
    Jacobian sum;
    Field x = number(2), expected_x = number(3), expected_y = number(4), zz;
    if (!scalar_load(&a, input) || !scalar_load(&b, input + NUMBER) || !point_lift_x(&p, &x)) {
        return 1;
    }
    point_multiply(&sum, &a, &b, &p);
    int is_infinity = field_is_zero(&expected_x) && field_is_zero(&expected_y);
    if (sum.is_infinity || is_infinity) {
        return sum.is_infinity == is_infinity ? 0 : 2;
    }
    field_sqr(&zz, &sum.z);
    field_mul(&expected_x, &expected_x, &zz);
    field_mul(&zz, &zz, &sum.z);
    field_mul(&expected_y, &expected_y, &zz);
    if (!field_is_equal(&expected_x, &sum.x)) {
        return 3;
    }
    return field_is_equal(&expected_y, &sum.y) ? 0 : 4;
}

int main(void) {
    if (input_length == NUMBER * FIELD_NUMBERS) {
        return check_field();
    }
    return input_length == NUMBER * POINT_NUMBERS ? check_point() : 32;
}
